"""Keypoints read off heat maps."""

from __future__ import annotations

import pytest
import torch

from maskhand.errors import ConfigError
from maskhand.keypoints.config import KeypointHeadConfig
from maskhand.keypoints.heatmap_head import KeypointHead

CHANNELS = {1: 12, 2: 10, 4: 8}


def head_of(**changes) -> KeypointHead:
    torch.manual_seed(0)
    return KeypointHead(CHANNELS, (7, 7), KeypointHeadConfig(**{"width": 16, **changes}))


def without_readout(**changes) -> KeypointHead:
    """A head that takes maps and depths as they are."""
    head = head_of(width=48, **changes)
    head.readout = torch.nn.Identity()
    return head


def maps_of() -> dict[int, torch.Tensor]:
    return {scale: torch.randn(2, count, 7 * scale, 7 * scale) for scale, count in CHANNELS.items()}


def test_keypoints_are_read_off_their_maps_and_a_wide_map_is_less_sure() -> None:
    head = without_readout()
    places = 1.2 * torch.rand(2, 21, 2) - 0.6
    distance = (head.y - places[..., 1:]).square()[..., :, None] + (head.x - places[..., :1]).square()[..., None, :]
    depths = torch.rand(2, 21, 1, 1).expand(2, 21, 28, 28)
    for width in (1, 2):
        features = torch.cat([-distance / (2 * (width * 0.1) ** 2), depths], 1)
        found = head.read(features).keypoints
        torch.testing.assert_close(found.xy, places, atol=0.03, rtol=0)
        torch.testing.assert_close(found.confidence, torch.full((2, 21), 1 / width), atol=0.06, rtol=0)
        torch.testing.assert_close(found.depth, depths[..., 0, 0] - depths[:, :1, 0, 0])
    torch.testing.assert_close(head.target_heat(places).sum(-1), torch.ones(2, 21))


def test_narrower_maps_are_as_sure_at_their_own_width_and_doubt_beyond_it_is_the_same() -> None:
    for sigma in (0.06, 0.1):
        head, places = without_readout(sigma=sigma), torch.zeros(1, 21, 2)
        for beyond, confidence in ((0.0, 1.0), (0.1, 0.5**0.5)):
            heat = head_of(width=48, sigma=(sigma**2 + beyond**2) ** 0.5).target_heat(places)
            features = torch.cat([heat.log().unflatten(2, (28, 28)), torch.zeros(1, 21, 28, 28)], 1)
            found = head.read(features).keypoints.confidence
            torch.testing.assert_close(found, torch.full((1, 21), confidence), atol=0.02, rtol=0)


def test_an_hourglass_starts_without_effect_and_then_corrects_the_maps() -> None:
    with_it, without, maps = head_of(hourglasses=1), head_of(), maps_of()
    without.load_state_dict({k: v for k, v in with_it.state_dict().items() if not k.startswith("hourglasses.")})
    torch.testing.assert_close(with_it(maps).keypoints.xy, without(maps).keypoints.xy)
    with_it.hourglasses[0].output.weight.data += 0.1 * torch.randn(16, 16, 1, 1)
    assert (with_it(maps).keypoints.xy - without(maps).keypoints.xy).abs().max() > 1e-3


def test_fine_blocks_and_certainty_start_without_effect() -> None:
    more, plain, maps = head_of(fine_blocks=2, depth_certainty=True), head_of(), maps_of()
    plain.load_state_dict({k: v for k, v in more.state_dict().items() if k in plain.state_dict()})
    before = more(maps)
    torch.testing.assert_close(before.keypoints.xy, plain(maps).keypoints.xy)
    assert torch.equal(before.depth_certainty, torch.ones(2, 21)) and plain(maps).depth_certainty is None
    more.blocks["4"][2][1].weight.data += 0.1 * torch.randn(16, 16, 3, 3)
    more.certainty.bias.data[3] = 0.7
    after = more(maps)
    assert (after.keypoints.xy - before.keypoints.xy).abs().max() > 1e-3
    torch.testing.assert_close(after.depth_certainty[:, 3], torch.tensor(0.7).exp().expand(2))


def test_hourglasses_but_the_last_are_kept_where_they_are_supervised() -> None:
    head = head_of(hourglasses=2)
    assert head(maps_of()).intermediate == ()
    head.keep_intermediate = True
    found = head(maps_of())
    assert len(found.intermediate) == 1, "of two hourglasses the first"
    torch.testing.assert_close(found.intermediate[0].keypoints.xy, found.keypoints.xy)  # neither has an effect yet


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 12}, "multiple of 8"),
        ({"sigma": 0.0}, "sigma is 0"),
        ({"width": 0, "context": True}, "context needs"),
    ],
)
def test_impossible_heads_are_refused(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        KeypointHeadConfig(**changes)
