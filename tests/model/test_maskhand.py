"""The paper's model: switches, gradients, attention, pyramid."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import keypoints_of, small_network
from torch.nn.functional import grid_sample

from maskhand.errors import ConfigError
from maskhand.model.config import EncoderConfig, ModelConfig
from maskhand.model.deformable_attention import DeformableAttention, sampled_by_products
from maskhand.model.encoder import Pyramid
from maskhand.model.unmasking import Sampling


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"refinement_blocks": 0},
        {"pose_context": False},
        {"synthesizer_layers": 2},
        {"sampling_reach": 0.5},
        {"pose_depth": True},
        {"head": {}},
        {"head": {"hourglasses": 1}},
        {"head": {"context": True}},
        {"encoder": EncoderConfig(scales=(1,))},
        {"encoder": EncoderConfig(scales=(1, 4))},
        {"encoder": EncoderConfig(scales=(1, 2), laterals=False)},
        {"encoder": EncoderConfig(learns="late")},
        {"encoder": EncoderConfig(learns="all")},
    ],
)
def test_every_part_can_be_switched_and_gets_gradients(changes) -> None:
    network = small_network(**changes).train()
    model = network.model
    for parameter in network.parameters():  # some start at zero, on purpose, and hold gradients back for one step
        if parameter.requires_grad:
            parameter.data += 0.01 * torch.randn_like(parameter)
    image, points = torch.rand(2, 3, 224, 224), torch.rand(2, 21, 4)
    points[:, 3:6, 2] = 0
    encoded = network.encode(image)
    context = network.context(encoded, keypoints_of(points))
    logits = model.predict(context, model.codes[torch.zeros(2, 32, dtype=torch.long)], torch.rand(2, 32) < 0.5)
    assert logits.shape == (2, 32, 64)
    loss = logits.square().sum() + sum(values.sum() for values in model.coarse_head(encoded.pyramid[-1]))
    if encoded.heatmaps is not None:
        own = encoded.heatmaps.keypoints
        loss = loss + own.xy.square().sum() + own.depth.square().sum()
    loss.backward()
    idle = [
        n for n, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert not idle, f"no gradient reaches {idle}"


def test_the_tokenizer_and_a_frozen_backbone_stay_frozen() -> None:
    model = small_network().model
    assert not any(p.requires_grad for p in model.tokenizer.parameters())
    assert (
        not any(p.requires_grad for p in model.encoder.backbone.parameters()) and not model.encoder.backbone.trainable()
    )


def test_drawn_codes_are_decoded_and_the_mean_is_where_none_is_drawn(hand_model) -> None:
    network = small_network()
    tokenizer, image, keypoints = (
        network.model.tokenizer,
        torch.rand(1, 3, 224, 224),
        keypoints_of(torch.rand(1, 21, 3)),
    )
    mean, chosen = (network.reconstruct(image, keypoints, hand_model, sampling=Sampling(mean=m)) for m in (None, False))
    torch.testing.assert_close(chosen.pose, tokenizer.decode(chosen.tokens))
    context = network.context(network.encode(image), keypoints)
    logits = network.model.predict(context, torch.zeros(1, 32, 16), torch.ones(1, 32, dtype=torch.bool))
    mean_code = network.model.mean_code(logits.softmax(-1))
    torch.testing.assert_close(mean.pose, tokenizer.decode_embeddings(mean_code))


def test_unknown_keypoints_do_not_matter_wherever_they_are(hand_model) -> None:
    network, image = small_network(), torch.rand(1, 3, 224, 224)
    points = torch.rand(1, 21, 4)
    points[:, 5:9, 2] = 0
    moved = points.clone()
    moved[:, 5:9, :2] += 3.0
    one, other = (network.reconstruct(image, keypoints_of(k), hand_model) for k in (points, moved))
    torch.testing.assert_close(one.pose, other.pose)


def test_depth_of_keypoints_counts_where_it_is_known() -> None:
    graph = small_network(pose_depth=True).model.pose_graph
    graph.depth.weight.data.normal_()
    flat = torch.rand(1, 21, 4)
    deep = flat + torch.tensor([0, 0, 0, 0.5])
    unknown = [k * torch.tensor([1, 1, 1, torch.nan]) for k in (flat, deep)]
    read = lambda points: graph(keypoints_of(points))  # noqa: E731
    assert (read(flat) - read(deep)).abs().max() > 1e-3
    torch.testing.assert_close(read(unknown[0]), read(unknown[1]))
    assert read(unknown[0]).isfinite().all()


def test_the_exported_products_sample_what_grid_sample_does() -> None:
    values, at, weights = torch.rand(3, 5, 7, 4), 1.4 * (2 * torch.rand(3, 6, 2, 2) - 1), torch.rand(3, 6, 2)
    expected = (grid_sample(values, at, align_corners=False, padding_mode="border") * weights[:, None]).sum(-1)
    torch.testing.assert_close(sampled_by_products(values, at, weights), expected)


def test_deformable_attention_reads_what_lies_under_its_reference() -> None:
    attention = DeformableAttention(width=4, heads=1, levels=1, points=1)
    for layer in (attention.value, attention.out):
        layer.weight.data.copy_(torch.eye(4))
        layer.bias.data.zero_()
    attention.offsets.bias.data.zero_()
    level = torch.zeros(1, 4, 8, 8)
    level[0, :, 2, 6] = torch.tensor([1.0, 2, 3, 4])
    at = torch.tensor([[[(6.5 / 8) * 2 - 1, (2.5 / 8) * 2 - 1]]])
    seen = attention(torch.randn(1, 1, 4), at, attention.project([level]))
    torch.testing.assert_close(seen[0, 0], torch.tensor([1.0, 2, 3, 4]))


def test_attention_samples_no_farther_than_its_reach() -> None:
    query, reference = 30 * torch.randn(2, 5, 8), torch.zeros(2, 5, 2)
    for reach in (0.0, 0.5):
        attention = DeformableAttention(width=8, heads=2, levels=1, points=3, reach=reach)
        attention.offsets.weight.data.normal_()
        locations, weights = attention.sampling_locations(query, reference)
        assert locations.shape == (2, 5, 2, 1, 3, 2) and weights.shape == (2, 5, 2, 1, 3)
        assert (locations.abs() <= 0.5).all() == bool(reach)


def test_the_pyramid_has_the_scales_of_table_16() -> None:
    pyramid = Pyramid({1: 16}, 8, EncoderConfig(scales=(1, 4, 8, 16)))
    levels = pyramid({1: torch.rand(1, 16, 4, 3)})
    assert [tuple(x.shape[-2:]) for x in levels] == [(64, 48), (32, 24), (16, 12), (4, 3)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModelConfig(width=100, heads=3), "multiple of model.heads"),
        (lambda: ModelConfig(synthesizer_layers=0), "synthesizer_layers is 0"),
        (lambda: ModelConfig(mean_scale=0.0), "mean_scale is 0"),
        (lambda: EncoderConfig(scales=(1, 3)), "powers of two"),
        (lambda: EncoderConfig(scales=()), "powers of two"),
        (lambda: small_network(encoder=EncoderConfig(backbone="vit-h", learns="late")), "only the backbone 'hand'"),
        (lambda: small_network(encoder=EncoderConfig(learns="some")), "learns is 'some'"),
        (lambda: small_network(encoder=EncoderConfig(backbone="resnet")), "backbone is 'resnet'; one of hand, vit-h"),
        (lambda: small_network(head={"context": True}, encoder=EncoderConfig(scales=(1,))), "needs 2 among"),
        (lambda: Sampling(temperature=-1.0), "temperature is -1"),
        (lambda: Sampling(top_k=0), "top_k is 0"),
    ],
)
def test_impossible_settings_are_refused(build, message) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
