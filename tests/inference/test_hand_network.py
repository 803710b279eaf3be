"""The model with the keypoint head around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import keypoints_of, small_network

from maskhand.checkpoint import load_into
from maskhand.model.config import EncoderConfig
from maskhand.model.unmasking import Sampling, draw_blends
from maskhand.runtime.spread import pose_spread, spread_numbers


def test_a_late_backbone_starts_out_as_the_trunk_it_copies() -> None:
    image = torch.rand(1, 3, 224, 224)
    frozen, late, most = (
        small_network(encoder=EncoderConfig(learns=learns)).model.encoder.maps(image)
        for learns in ("nothing", "late", "most")
    )
    for scale in (1, 2):
        for copied in (late, most):
            torch.testing.assert_close(frozen[scale], copied[scale], atol=1e-4, rtol=1e-3)


def test_a_frozen_trunk_is_in_no_weights_and_a_learning_one_is() -> None:
    for learns, held in (("nothing", False), ("late", False), ("all", True)):
        network = small_network(encoder=EncoderConfig(learns=learns))
        state = network.state_dict()
        assert any(".trunk." in key for key in state) is held
        load_into(network, state, source="itself")


def test_cached_maps_and_the_image_give_the_same_context() -> None:
    network = small_network()
    image, keypoints = torch.rand(2, 3, 224, 224), keypoints_of(torch.rand(2, 21, 4))
    maps, _ = network.model.encoder.backbone.trunk(image)
    one = network.context(network.encode(image), keypoints)
    other = network.context(network.encode({1: maps[32], 2: maps[16]}), keypoints)
    torch.testing.assert_close(one.reference, other.reference)
    torch.testing.assert_close(one.values[0][0], other.values[0][0])


def test_a_batch_gives_what_single_crops_give(hand_model) -> None:
    network = small_network()
    image, points = torch.rand(3, 3, 224, 224), torch.rand(3, 21, 4)
    together = network.reconstruct(image, keypoints_of(points), hand_model, steps=3)
    for k in range(3):
        alone = network.reconstruct(image[k : k + 1], keypoints_of(points[k : k + 1]), hand_model, steps=3)
        torch.testing.assert_close(together.pose[k], alone.pose[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"head": {}}, {"pose_context": False}])
def test_several_draws_are_those_of_as_many_crops(changes, hand_model) -> None:
    network = small_network(**changes)
    image, points = torch.rand(2, 3, 224, 224), torch.rand(2, 21, 4)

    def draw(image: torch.Tensor, points: torch.Tensor, draws: int = 1):
        return network.reconstruct(
            image,
            keypoints_of(points),
            hand_model,
            steps=3,
            sampling=Sampling(temperature=1.0),
            rng=np.random.default_rng(1),
            draws=draws,
        )

    drawn = draw(image, points, 3)
    repeated = draw(image.repeat_interleave(3, 0), points.repeat_interleave(3, 0))
    assert (drawn.tokens == repeated.tokens).float().mean() > 0.95  # rounding may turn one
    for name in ("shape", "weak_camera", "heatmap_confidence", "disagreement"):
        torch.testing.assert_close(getattr(drawn, name), getattr(repeated, name), atol=1e-4, rtol=1e-3, equal_nan=True)
    torch.testing.assert_close(drawn.keypoints.xy, repeated.keypoints.xy, atol=1e-4, rtol=1e-3)
    assert not torch.equal(drawn.tokens[0], drawn.tokens[1])


def test_a_users_keypoints_are_taken_as_they_are(hand_model) -> None:
    network = small_network(head={})
    image, points = torch.rand(2, 3, 224, 224), torch.rand(2, 21, 3)
    own, theirs = (
        network.reconstruct(image, keypoints_of(points, s), hand_model) for s in ("user", "landmark_network")
    )
    assert torch.equal(own.keypoints.xy, points[..., :2]) and own.keypoints.source == "user"
    assert own.disagreement.isnan().all() and theirs.disagreement.isfinite().all()
    assert theirs.keypoints.source == "fused" and not torch.equal(theirs.keypoints.xy, points[..., :2])


def test_the_synthesizer_sees_the_keypoint_heads_map_only_once_it_has_learned_to() -> None:
    maps, keypoints = {4: torch.rand(2, 40, 28, 28)}, keypoints_of(torch.rand(2, 21, 4))
    network = small_network(head={"context": True})
    before = network.context(network.encode(maps), keypoints)
    network.keypoint_context.weight.data += 0.1 * torch.randn_like(network.keypoint_context.weight)
    after = network.context(network.encode(maps), keypoints)
    fine, coarse = ((b - a).abs().max() for b, a in zip(before.values[0], after.values[0], strict=True))
    assert fine > 1e-3 and coarse == 0
    network.keypoint_context = None
    torch.testing.assert_close(network.context(network.encode(maps), keypoints).values[0][0], before.values[0][0])


def test_spread_is_larger_where_tokens_are_less_sure(hand_model) -> None:
    tokenizer = small_network().model.tokenizer
    pose = tokenizer.decode(torch.zeros(1, 32, dtype=torch.long))
    sure = torch.zeros(1, 32, 64)
    sure[..., 0] = 1
    spreads = []
    for probabilities in (sure, torch.full((1, 32, 64), 1 / 64)):
        blends = draw_blends(probabilities, tokenizer.codebook.codes, spread_numbers(32))
        others = tokenizer.decode_embeddings(blends[0].transpose(0, 1))[None]
        spreads.append(pose_spread(hand_model, others, pose, torch.zeros(1, 10)).mean().item())
    assert spreads[0] == pytest.approx(0, abs=1e-6)
    assert spreads[1] > 1e-3 and np.isfinite(spreads[1])


def test_every_sixth_of_a_distribution_is_drawn_from_once() -> None:
    numbers = spread_numbers(32)
    assert (np.sort(np.floor(6 * numbers), axis=1) == np.arange(6)).all()
    assert np.array_equal(numbers, spread_numbers(32))
