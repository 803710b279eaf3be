from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import relu6

from maskhand.backbones.landmark_trunk import ClippedDepthwise, SameConv
from maskhand.errors import ConfigError
from maskhand.geometry.camera import project_in_crop, scale_in_crop, translation_from_weak
from maskhand.geometry.rotations import matrix_from_axis_angle
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.model.config import EncoderConfig, ModelConfig
from maskhand.model.deformable_attention import DeformableAttention
from maskhand.model.encoder import Encoder, Pyramid
from maskhand.backbones.hand import HandBackbone
from maskhand.backbones.vit import VitBackbone
from maskhand.keypoints.heatmap_head import HEAT_SIGMA, FoundKeypoints, KeypointHead, merged_keypoints
from maskhand.model.maskhand import MaskHandModel
from maskhand.tokenizer.vq_mano import TokenizerConfig, VqMano
from maskhand.training.loop import TrainConfig
from maskhand.training.losses import LossWeights
from maskhand.training.extra_losses import scaled_to
from maskhand.training.paper_losses import weighted_mean
from maskhand.training.extra_losses import EXPECTED_DEPTH_ERROR
from maskhand.training.objective import ModelObjective
from maskhand.training.part_maps import part_maps
from maskhand.training.settings import DataConfig, ModelTraining
from maskhand.training.masking import MaskConfig
from maskhand.training.transformer_stage import shipped_weights

TOKENIZER = TokenizerConfig(token_count=32, codebook_size=64, code_dim=16, width=32, depth=1)
SMALL = dict(width=32, heads=2)


def small_model(**changes) -> MaskHandModel:
    return MaskHandModel(ModelConfig(**{**SMALL, **changes}), VqMano(TOKENIZER).eval()).eval()


def batch_of(hand_model, poses, count: int = 4) -> dict[str, torch.Tensor]:
    """Four hands with random features: what a shard would give."""
    pose, shape = poses[:count], 0.3 * torch.randn(count, 10)
    keypoints = hand_model.keypoints(pose, shape)
    camera = translation_from_weak(torch.tensor([[7.0, 0.01, -0.02]]).expand(count, 3))
    flat = project_in_crop(keypoints, camera)
    return {
        "map8": torch.randn(count, 40, 28, 28),
        "points": torch.cat([flat, torch.ones(count, 21, 1), torch.randn(count, 21, 1)], -1),
        "pose": pose,
        "shape": shape,
        "keypoints_3d": keypoints,
        "keypoints_2d": flat,
        "visible": torch.ones(count, 21, dtype=torch.bool),
        "labelled": torch.ones(count, dtype=torch.bool),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"refinement_blocks": 0},
        {"pose_context": False},
        {"synthesizer_layers": 2},
        {"sampling_reach": 0.5},
        {"pose_depth": True},
        {"keypoint_width": 16},
        {"keypoint_width": 16, "keypoint_hourglasses": 1},
        {"keypoint_width": 16, "keypoint_context": True},
        {"encoder": EncoderConfig(scales=(1,))},
        {"encoder": EncoderConfig(scales=(1, 4))},
        {"encoder": EncoderConfig(scales=(1, 2), laterals=False)},
        {"encoder": EncoderConfig(learns="late")},
        {"encoder": EncoderConfig(learns="all")},
    ],
)
def test_every_part_can_be_switched_and_gets_gradients(changes, hand_model, poses) -> None:
    model = small_model(**changes).train()
    for parameter in model.parameters():  # some start at zero, on purpose, and hold gradients back for one step
        if parameter.requires_grad:
            parameter.data += 0.01 * torch.randn_like(parameter)
    image, keypoints = torch.rand(2, 3, 224, 224), torch.rand(2, 21, 4)
    keypoints[:, 3:6, 2] = 0
    looked = model.look(image)
    context = model.observe(looked, keypoints)
    logits = model.predict(context, model.codes[torch.zeros(2, 32, dtype=torch.long)], torch.rand(2, 32) < 0.5)
    assert logits.shape == (2, 32, 64)
    found = 0 if looked.found is None else looked.found.keypoints.square().sum()
    (logits.square().sum() + context.shape.sum() + context.weak_camera.sum() + found).backward()
    idle = [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert not idle, f"no gradient reaches {idle}"


def test_a_late_backbone_starts_out_as_the_trunk_it_copies() -> None:
    image, keypoints = torch.rand(1, 3, 224, 224), torch.rand(1, 21, 4)
    torch.manual_seed(0)
    model = small_model()
    frozen = model.observe(model.look(image), keypoints)
    torch.manual_seed(0)
    model = small_model(encoder=EncoderConfig(learns="late"))
    late = model.observe(model.look(image), keypoints)
    torch.testing.assert_close(frozen.shape, late.shape)


def test_the_tokenizer_and_a_frozen_backbone_stay_frozen() -> None:
    model = small_model()
    assert not any(p.requires_grad for p in model.tokenizer.parameters())
    assert not any(p.requires_grad for p in model.encoder.backbone.parameters())


def test_cached_maps_and_the_image_give_the_same_context() -> None:
    model = small_model()
    image, keypoints = torch.rand(2, 3, 224, 224), torch.rand(2, 21, 4)
    maps, _ = model.encoder.backbone.trunk(image)
    one = model.observe(model.look(image), keypoints)
    other = model.observe(model.look({1: maps[32], 2: maps[16]}), keypoints)
    torch.testing.assert_close(one.shape, other.shape)
    torch.testing.assert_close(one.values[0][0], other.values[0][0])


def test_a_batch_gives_what_single_crops_give(hand_model) -> None:
    model = small_model()
    image, keypoints = torch.rand(3, 3, 224, 224), torch.rand(3, 21, 4)
    together = model.reconstruct(image, keypoints, hand_model, steps=3)
    for k in range(3):
        alone = model.reconstruct(image[k : k + 1], keypoints[k : k + 1], hand_model, steps=3)
        torch.testing.assert_close(together.pose[k], alone.pose[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"keypoint_width": 16}, {"pose_context": False}])
def test_several_draws_are_those_of_as_many_crops(changes, hand_model) -> None:
    model = small_model(**changes)
    image, keypoints = torch.rand(2, 3, 224, 224), torch.rand(2, 21, 4)
    draw = lambda *crops, **more: model.reconstruct(  # noqa: E731
        *crops, hand_model, steps=3, temperature=1.0, generator=torch.Generator().manual_seed(1), **more
    )
    drawn = draw(image, keypoints, draws=3)
    repeated = draw(image.repeat_interleave(3, 0), keypoints.repeat_interleave(3, 0))
    assert (drawn.tokens == repeated.tokens).float().mean() > 0.95  # rounding may turn one
    for name in ("keypoints", "shape", "weak_camera", "head_confidence", "apart"):
        torch.testing.assert_close(getattr(drawn, name), getattr(repeated, name), atol=1e-4, rtol=1e-3, equal_nan=True)
    assert not torch.equal(drawn.tokens[0], drawn.tokens[1])


def test_unknown_keypoints_do_not_matter_wherever_they_are(hand_model) -> None:
    model = small_model()
    image = torch.rand(1, 3, 224, 224)
    keypoints = torch.rand(1, 21, 4)
    keypoints[:, 5:9, 2] = 0
    moved = keypoints.clone()
    moved[:, 5:9, :2] += 3.0
    one, other = (model.reconstruct(image, k, hand_model) for k in (keypoints, moved))
    torch.testing.assert_close(one.pose, other.pose)


def test_depth_of_keypoints_counts_where_it_is_known() -> None:
    graph = small_model(pose_depth=True).pose_graph
    graph.depth.weight.data.normal_()
    flat = torch.rand(1, 21, 4)
    deep = flat + torch.tensor([0, 0, 0, 0.5])
    unknown = [k * torch.tensor([1, 1, 1, torch.nan]) for k in (flat, deep)]
    assert (graph(flat) - graph(deep)).abs().max() > 1e-3
    torch.testing.assert_close(graph(unknown[0]), graph(unknown[1]))
    assert graph(unknown[0]).isfinite().all()


def test_keypoints_are_read_off_their_maps_and_a_wide_map_is_less_sure() -> None:
    head = KeypointHead({1: 8, 2: 8, 4: 8}, (7, 7), ModelConfig(keypoint_width=48))
    head.read = torch.nn.Identity()
    places = 1.2 * torch.rand(2, 21, 2) - 0.6
    apart = (head.y - places[..., 1:]).square()[..., :, None] + (head.x - places[..., :1]).square()[..., None, :]
    depths = torch.rand(2, 21, 1, 1).expand(2, 21, 28, 28)
    for width in (1, 2):
        answer = torch.cat([-apart / (2 * (width * HEAT_SIGMA) ** 2), depths], 1)
        found = head._read(answer)
        torch.testing.assert_close(found.keypoints[..., :2], places, atol=0.03, rtol=0)
        torch.testing.assert_close(found.keypoints[..., 2], torch.full((2, 21), 1 / width), atol=0.06, rtol=0)
        torch.testing.assert_close(found.keypoints[..., 3], depths[..., 0, 0] - depths[:, :1, 0, 0])
    torch.testing.assert_close(head.wanted_heat(places).sum(-1), torch.ones(2, 21))


def test_two_opinions_of_keypoints_count_by_how_far_they_agree() -> None:
    own = torch.cat([torch.rand(1, 21, 2) - 0.5, torch.full((1, 21, 1), 0.7), torch.zeros(1, 21, 1)], -1)
    other = own.clone()
    other[..., 0] += 0.02
    other[..., 2] = 1.0
    merged = merged_keypoints(own, other)
    shift = (merged - own)[..., 0]
    assert ((shift > 0.01) & (shift < 0.02)).all(), "near our own, the finer network's places count most"
    assert (merged[..., 2] > own[..., 2]).all()
    unknown = other * torch.tensor([1, 1, 0, 1])
    torch.testing.assert_close(merged_keypoints(own, unknown), own)
    sure, doubtful = (other * torch.tensor([1, 1, presence, 1]) for presence in (0.985, 0.9))
    torch.testing.assert_close(merged_keypoints(own, sure), merged)
    assert ((merged_keypoints(own, doubtful) - own)[..., 0] < 0.1 * shift).all(), (
        "what doubts that there is a hand counts little"
    )
    wild = other.clone()
    wild[0, 4, :2] += 0.8
    assert (merged_keypoints(own, wild) - own)[0, 4, :2].norm() < 0.15, "one that lies far off counts little"
    other[..., 0] += 0.5
    shift = (merged_keypoints(own, other) - own)[..., 0]
    assert (shift < 0.06).all(), "a hand that lies elsewhere counts little"


def test_two_opinions_of_depth_count_by_how_far_they_agree() -> None:
    own = torch.cat([torch.rand(1, 21, 2) - 0.5, torch.full((1, 21, 1), 0.7), torch.rand(1, 21, 1)], -1)
    pulls = []
    for apart, elsewhere in ((0.05, 0.0), (0.6, 0.0), (0.05, 0.5)):
        other = own + torch.tensor([elsewhere, 0, 0.3, apart])
        pulls.append((merged_keypoints(own, other) - own)[..., 3].mean() / apart)
    near, far, displaced = pulls
    assert 0.3 < near < 1
    assert far < near / 2, "a hand of another depth counts little"
    assert displaced < near / 2, "so does one that lies elsewhere"


def test_the_keypoint_head_is_taught_the_landmark_networks_places(hand_model, poses) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3), data=DataConfig(synthetic="unused")
    )
    objective = ModelObjective(settings, small_model(keypoint_width=16), hand_model)
    batch = batch_of(hand_model, poses)
    camera = translation_from_weak(torch.tensor([[7.0, 0.01, -0.02]]).expand(4, 3))
    marks = landmark_positions(hand_model, batch["pose"], batch["shape"])
    depth = 7.0 * (marks - marks[:, :1])[..., 2:]

    def loss(points: torch.Tensor) -> dict[str, torch.Tensor]:
        places = project_in_crop(points, camera)
        heat = objective.model.keypoint_head.wanted_heat(places).log()
        found = FoundKeypoints(torch.cat([places, torch.ones(4, 21, 1), depth], -1), heat, torch.empty(4, 1, 1, 1))
        return objective._found_terms(batch, found, torch.ones(4))

    right, off = loss(marks), loss(batch["keypoints_3d"])
    assert right["found"] < 0.2 * off["found"] and right["heat"] < off["heat"]
    assert right["found_depth"] < 0.1 * depth.abs().mean()


def test_every_cell_shows_the_part_in_front() -> None:
    points = torch.zeros(1, 21, 3)
    points[0, :, 0] = 50.0  # all but two fingers lie outside
    points[0, 5:9] = torch.tensor([[-0.8, -0.5, 0.3], [-0.2, -0.5, 0.3], [0.2, -0.5, 0.3], [0.8, -0.5, 0.3]])
    points[0, 9:13] = torch.tensor([[0.0, -0.9, 0.1], [0.0, -0.7, 0.1], [0.0, -0.3, 0.9], [0.0, 0.9, 0.9]])
    centres = (2 * torch.arange(40) + 1) / 40 - 1
    part, depth = (x.view(40, 40) for x in part_maps(points, torch.tensor([10.0]), centres, centres))
    radius = 0.078

    def at(x: float, y: float) -> tuple[int, float]:
        row, column = round((y + 1) * 20 - 0.5), round((x + 1) * 20 - 0.5)
        return int(part[row, column]), float(depth[row, column])

    assert at(-0.5, -0.5)[0] == 5 and at(0.1, -0.5)[0] == 6 and at(0.5, -0.5)[0] == 7, "the index finger's bones"
    assert at(0.0, -0.8)[0] == 8 and at(0.0, 0.4)[0] == 10, "the middle finger's"
    assert at(0.0, 0.4)[1] == pytest.approx(0.9 - 0.07, abs=0.02)
    assert at(0.0, -0.6)[0] == 9 and at(0.025, -0.5)[0] == 6, "where they cross"
    assert at(0.025, -0.45)[1] == pytest.approx(0.3 - (radius**2 - 0.05**2) ** 0.5, abs=0.03), "the nearer of the two"
    assert at(-0.5, 0.4) == (0, 0.0)


def test_what_hourglasses_leave_is_taught_early_and_parts_are_learned(hand_model, poses) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3),
        data=DataConfig(synthetic="unused"),
        model=ModelConfig(keypoint_width=16, keypoint_hourglasses=2),
        loss=LossWeights(early=0.5, parts=1.0, parts_depth=1.0, bones=1.0),
        masking=MaskConfig(own_tokens=0.5),
    )
    model = small_model(keypoint_width=16, keypoint_hourglasses=2)
    objective = ModelObjective(settings, model, hand_model).train()
    batch = batch_of(hand_model, poses)
    found = model.look({4: batch["map8"]}).found
    assert len(found.early) == 1, "of two hourglasses the first"
    torch.testing.assert_close(found.early[0].keypoints, found.keypoints)  # neither has an effect yet
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    shown = []
    for _ in range(120):
        loss, terms = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shown.append(terms)
    for term, share in (("parts", 0.6), ("parts_depth", 0.85), ("found_depth", 0.6)):
        assert torch.stack([terms[term] for terms in shown[-10:]]).mean() < share * shown[0][term], term
    tensors, _ = shipped_weights(model)
    assert not any("part_head" in key for key in tensors), "it only teaches"


@pytest.mark.parametrize("share", [0.0, 0.3, 1.5])
def test_a_photos_depth_counts_as_much_as_is_set(share, hand_model, poses) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3),
        data=DataConfig(synthetic="unused"),
        loss=LossWeights(photo_depth=share),
    )
    objective = ModelObjective(settings, small_model(keypoint_width=16), hand_model)
    labelled, batch = torch.tensor([1.0, 1.0, 1.0, 0.0]), batch_of(hand_model, poses)
    places, heat = batch["keypoints_2d"], objective.model.keypoint_head.wanted_heat(batch["keypoints_2d"]).log()

    def term(depth: torch.Tensor) -> torch.Tensor:
        points = torch.cat([places, torch.ones(4, 21, 1), depth[:, None, None].expand(4, 21, 1)], -1)
        return objective._found_terms(batch, FoundKeypoints(points, heat, torch.empty(4, 1, 1, 1)), labelled)[
            "found_depth"
        ]

    far = term(torch.full((4,), 10.0))  # beyond all true depths
    farther = term(torch.tensor([10.0, 10.0, 10.0, 11.0]))
    torch.testing.assert_close(farther - far, torch.tensor(share / (3 + share)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
def test_training_through_the_fit_teaches_the_pose_the_keypoints_and_their_trust(hand_model, poses, labelled) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3), data=DataConfig(synthetic="unused")
    )
    with pytest.raises(ConfigError, match="finds no 2D keypoints"):
        replace(settings, loss=LossWeights(fitted=1.0))
    objective = ModelObjective(settings, small_model(keypoint_width=16), hand_model)
    batch = batch_of(hand_model, poses)
    weak = torch.tensor([[7.0, 0.01, -0.02]]).expand(4, 3)
    marks = landmark_positions(hand_model, batch["pose"], batch["shape"])
    if not labelled:  # the teacher's are the landmark network's places, in a size of its own
        batch["keypoints_3d"] = 1.3 * (marks - marks[:, :1])
    depth = 7.0 * (marks - marks[:, :1])[..., 2:]
    places = project_in_crop(marks, translation_from_weak(weak))
    sure = torch.full((4, 21, 1), 0.9)
    off = batch["pose"] @ matrix_from_axis_angle(0.15 * torch.randn(4, 16, 3))
    right = torch.cat([places, sure, depth], -1).requires_grad_()
    wrong = torch.cat([places + 0.1 * torch.randn_like(places), sure, depth], -1)
    unknown = torch.cat([places, torch.full_like(sure, 1e-3), depth], -1)
    pose = off.clone().requires_grad_()
    probabilities = torch.full((4, 32, 64), 1 / 64).log()

    silent = torch.zeros(4, 21, 4)  # the other network, of confidence 0

    def term(found: torch.Tensor) -> torch.Tensor:
        fitted = objective._fitted(found, silent, pose, batch["shape"], weak, probabilities)
        return objective._off_in_space(batch["keypoints_3d"], fitted.pose, fitted.shape)[0 if labelled else 1].mean()

    assert term(right) < 0.5 * term(unknown) and term(right) < 0.5 * term(wrong)
    (term(right) + term(wrong)).backward()
    for gradient in (pose.grad, *right.grad.split((2, 1, 1), -1)):
        assert gradient.isfinite().all() and gradient.abs().max() > 0


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


def test_attention_looks_no_farther_than_its_reach_and_can_come_back() -> None:
    query, reference = 30 * torch.randn(2, 5, 8), torch.zeros(2, 5, 2)
    for reach in (0.0, 0.5):
        attention = DeformableAttention(width=8, heads=2, levels=1, points=3, reach=reach)
        attention.offsets.weight.data.normal_()
        places, weights = attention.places(query, reference)
        assert places.shape == (2, 5, 2, 1, 3, 2) and weights.shape == (2, 5, 2, 1, 3)
        assert (places.abs() <= 0.5).all() == bool(reach)


def test_the_pyramid_has_the_scales_of_table_16() -> None:
    pyramid = Pyramid({1: 16}, 8, EncoderConfig(scales=(1, 4, 8, 16)))
    levels = pyramid({1: torch.rand(1, 16, 4, 3)})
    assert [tuple(x.shape[-2:]) for x in levels] == [(64, 48), (32, 24), (16, 12), (4, 3)]


def test_the_papers_vit_h_runs_forward() -> None:
    pytest.importorskip("transformers", reason="the extra 'vit' is not installed")
    with torch.device("meta"):
        backbone = VitBackbone()
    assert sum(p.numel() for p in backbone.parameters()) > 600e6
    backbone = VitBackbone(depth=2).eval()  # all 32 layers alike: two of full width show that data pass
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 256, 256))
    assert maps[1].shape == (1, 1280, 16, 12)
    levels = Pyramid(backbone.channels, 32, EncoderConfig(backbone="vit-h", scales=(1, 4)))(maps)
    assert [tuple(x.shape[-2:]) for x in levels] == [(64, 48), (16, 12)]


def test_the_vit_starts_from_an_expert_of_vitpose(tmp_path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra 'vit' is not installed")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 4}
    pose = transformers.VitPoseForPoseEstimation(
        transformers.VitPoseConfig(
            backbone_config=transformers.VitPoseBackboneConfig(**size, num_experts=6, part_features=8), num_labels=17
        )
    )
    pose.save_pretrained(tmp_path / "plus")
    backbone = VitBackbone(depth=2, width=32, heads=4).eval()
    backbone.start_from(str(tmp_path / "plus"), expert=4)
    image = torch.rand(1, 3, 256, 192)
    with torch.no_grad():
        theirs = pose.backbone.eval()(image, dataset_index=torch.tensor([4])).feature_maps[-1]
        torch.testing.assert_close(backbone.vit(image).feature_maps[-1], theirs)
    with pytest.raises(ConfigError, match="no ViT of 3 layers"):
        VitBackbone(depth=3, width=32, heads=4).start_from(str(tmp_path / "plus"))
    with pytest.raises(ConfigError, match="cannot be read as a ViTPose model"):
        backbone.start_from(str(tmp_path / "nothing"))


@pytest.mark.parametrize("keypoint_width", [0, 16])
def test_the_model_overfits_four_samples(keypoint_width, hand_model, poses) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3),
        data=DataConfig(synthetic="unused"),
        masking=MaskConfig(no_keypoints=0.0, lost_keypoints=0.0, keypoint_noise=0.0),
    )
    model = small_model(width=64, keypoint_width=keypoint_width)
    objective = ModelObjective(settings, model, hand_model).train()
    batch = batch_of(hand_model, poses)
    # A tokenizer that knows these four poses, so that tokens mean something.
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    first = None
    for _ in range(250):
        loss, terms = objective(batch)
        first = first if first is not None else terms
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert terms["ce"] < 0.1 * first["ce"]
    objective.eval()
    answer = model.reconstruct({4: batch["map8"]}, batch["points"], hand_model, from_codes=True, soft=False)
    draws = [
        model.reconstruct(
            {4: batch["map8"]},
            batch["points"],
            hand_model,
            temperature=5.0,
            generator=torch.Generator().manual_seed(seed),
        ).pose
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.allclose(draws[0], draws[2], atol=0.01), (
        "drawn codes are decoded"
    )
    right = (answer.tokens == model.tokenizer.encode(batch["pose"])).float().mean()
    assert right > 0.95, f"{right:.0%} of the tokens are right"


def test_an_hourglass_starts_without_effect_and_then_corrects_the_maps() -> None:
    channels = {1: 12, 2: 10, 4: 8}
    torch.manual_seed(0)
    with_it = KeypointHead(channels, (7, 7), ModelConfig(keypoint_width=16, keypoint_hourglasses=1))
    without = KeypointHead(channels, (7, 7), ModelConfig(keypoint_width=16))
    without.load_state_dict({k: v for k, v in with_it.state_dict().items() if not k.startswith("hourglasses.")})
    maps = {scale: torch.randn(2, count, 7 * scale, 7 * scale) for scale, count in channels.items()}
    torch.testing.assert_close(with_it(maps).keypoints, without(maps).keypoints)
    with_it.hourglasses[0].correct.weight.data += 0.1 * torch.randn(16, 16, 1, 1)
    assert (with_it(maps).keypoints - without(maps).keypoints).abs().max() > 1e-3


def test_mixings_of_the_finest_map_and_certainty_start_without_effect() -> None:
    channels = {1: 12, 2: 10, 4: 8}
    torch.manual_seed(0)
    more = KeypointHead(
        channels, (7, 7), ModelConfig(keypoint_width=16, keypoint_fine=2, keypoint_depth_certainty=True)
    )
    plain = KeypointHead(channels, (7, 7), ModelConfig(keypoint_width=16))
    plain.load_state_dict({k: v for k, v in more.state_dict().items() if k in plain.state_dict()})
    maps = {scale: torch.randn(2, count, 7 * scale, 7 * scale) for scale, count in channels.items()}
    found = more(maps)
    torch.testing.assert_close(found.keypoints, plain(maps).keypoints)
    assert torch.equal(found.depth_certainty, torch.ones(2, 21)) and plain(maps).depth_certainty is None
    more.mix["4"][2][1].weight.data += 0.1 * torch.randn(16, 16, 3, 3)
    more.certainty.bias.data[3] = 0.7
    changed = more(maps)
    assert (changed.keypoints - found.keypoints).abs().max() > 1e-3
    torch.testing.assert_close(changed.depth_certainty[:, 3], torch.tensor(0.7).exp().expand(2))


def test_narrower_maps_are_as_sure_at_their_own_width_and_doubt_beyond_it_is_the_same() -> None:
    for sigma in (0.06, 0.1):
        head = KeypointHead({1: 8, 2: 8, 4: 8}, (7, 7), ModelConfig(keypoint_width=48, keypoint_sigma=sigma))
        head.read = torch.nn.Identity()
        places = torch.zeros(1, 21, 2)
        for beyond, confidence in ((0.0, 1.0), (0.1, 0.5**0.5)):
            wide = ModelConfig(keypoint_width=48, keypoint_sigma=(sigma**2 + beyond**2) ** 0.5)
            heat = KeypointHead({1: 8, 2: 8, 4: 8}, (7, 7), wide).wanted_heat(places)
            answer = torch.cat([heat.log().unflatten(2, (28, 28)), torch.zeros(1, 21, 28, 28)], 1)
            torch.testing.assert_close(
                head._read(answer).keypoints[..., 2], torch.full((1, 21), confidence), atol=0.02, rtol=0
            )


def test_certainty_learns_how_far_off_depths_are_and_cuts_count_where_bones_cut(hand_model, poses) -> None:
    with pytest.raises(ConfigError, match="keypoint_depth_certainty=true"):
        replace(
            ModelTraining(
                train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3), data=DataConfig(synthetic="unused")
            ),
            model=ModelConfig(keypoint_width=16),
            loss=LossWeights(certainty=1.0),
        )
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3),
        data=DataConfig(synthetic="unused"),
        model=ModelConfig(keypoint_width=16, keypoint_depth_certainty=True),
        loss=LossWeights(certainty=1.0, cuts=1.0, fitted=1.0),
    )
    objective = ModelObjective(settings, small_model(keypoint_width=16, keypoint_depth_certainty=True), hand_model)
    batch = batch_of(hand_model, poses)
    marks = landmark_positions(hand_model, batch["pose"], batch["shape"])
    scale = scale_in_crop(batch["keypoints_3d"], batch["keypoints_2d"])[:, None]
    heat = objective.model.keypoint_head.wanted_heat(batch["keypoints_2d"]).log()

    def term(off: float, certainty: float) -> float:
        depth = scale * (marks - marks[:, :1])[..., 2] + off
        points = torch.cat([batch["keypoints_2d"], torch.ones(4, 21, 1), depth[..., None]], -1)
        found = FoundKeypoints(points, heat, torch.empty(4, 1, 1, 1), torch.full((4, 21), certainty))
        return float(objective._found_terms(batch, found, torch.ones(4))["certainty"])

    for off in (EXPECTED_DEPTH_ERROR, 2 * EXPECTED_DEPTH_ERROR):
        right = EXPECTED_DEPTH_ERROR / off
        assert term(off, right) < min(term(off, 0.8 * right), term(off, 1.25 * right))
    open_hand = torch.eye(3).expand(1, 16, 3, 3)
    fist = open_hand.clone()
    fist[:, 1] = matrix_from_axis_angle(torch.tensor([[0.0, 0.5, 0.0]]))
    swung = [float(objective._cuts(pose, torch.zeros(1, 10))) for pose in (open_hand, fist, fist.mT)]
    assert swung[0] == 0 and max(swung) > 0.001, "the index finger, swung against the middle one, cuts it"
    loss, _ = objective(batch)
    loss.backward()
    assert objective.model.keypoint_head.certainty.weight.grad.abs().max() > 0


def test_the_synthesizer_sees_the_keypoint_heads_map_only_once_it_has_learned_to() -> None:
    maps, keypoints = {4: torch.rand(2, 40, 28, 28)}, torch.rand(2, 21, 4)
    model = small_model(keypoint_width=16, keypoint_context=True)
    before = model.observe(model.look(maps), keypoints)
    model.keypoint_context.weight.data += 0.1 * torch.randn_like(model.keypoint_context.weight)
    after = model.observe(model.look(maps), keypoints)
    fine, coarse = ((b - a).abs().max() for b, a in zip(before.values[0], after.values[0], strict=True))
    assert fine > 1e-3 and coarse == 0
    model.keypoint_context = None
    torch.testing.assert_close(model.observe(model.look(maps), keypoints).values[0][0], before.values[0][0])
    with pytest.raises(ConfigError, match="keypoint_context needs"):
        ModelConfig(keypoint_context=True)


def recorded_predictions(model: MaskHandModel, monkeypatch) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Embeddings, masks and logits of every prediction to come."""
    predict, seen = model.predict, []

    def recorded(context, embedding, mask):
        logits = predict(context, embedding, mask)
        seen.append((embedding, mask, logits))
        return logits

    monkeypatch.setattr(model, "predict", recorded)
    return seen


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_a_photo_shows_no_tokens_but_the_models_own(own, hand_model, poses, monkeypatch) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3),
        data=DataConfig(synthetic="unused"),
        masking=MaskConfig(low=0.5, high=0.5, own_tokens=own),
    )
    model = small_model()
    batch = batch_of(hand_model, poses) | {"labelled": torch.zeros(4, dtype=torch.bool)}
    seen = recorded_predictions(model, monkeypatch)
    ModelObjective(settings, model, hand_model)(batch)
    embedding, mask, _ = seen[-1]
    if own:
        (_, hidden, first), _ = seen
        assert hidden.all() and not mask.all()
        torch.testing.assert_close(embedding, first.softmax(-1) @ model.codes)
    else:
        assert len(seen) == 1 and mask.all()


def test_all_hidden_shows_no_token(hand_model, poses, monkeypatch) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3),
        data=DataConfig(synthetic="unused"),
        masking=MaskConfig(low=0.5, high=0.5, all_hidden=0.5),
    )
    model = small_model()
    seen = recorded_predictions(model, monkeypatch)
    torch.manual_seed(0)
    for _ in range(4):
        ModelObjective(settings, model, hand_model)(batch_of(hand_model, poses))
    none = [row.all().item() for _, mask, _ in seen for row in mask]
    assert 3 <= sum(none) <= 13, f"{sum(none)} of 16 samples show no token"


def test_a_photo_without_labels_teaches_through_its_keypoints_alone(hand_model, poses) -> None:
    settings = ModelTraining(
        train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3), data=DataConfig(synthetic="unused")
    )
    batch = batch_of(hand_model, poses)
    batch["labelled"] = torch.zeros(4, dtype=torch.bool)
    torch.manual_seed(0)
    loss, _ = ModelObjective(settings, small_model(), hand_model)(batch)
    assert torch.isfinite(loss)
    wrong = {**batch, "pose": poses[4:8], "shape": torch.randn(4, 10)}
    torch.manual_seed(0)
    model = small_model()
    torch.manual_seed(5)
    a, _ = ModelObjective(settings, model, hand_model)(batch)
    torch.manual_seed(5)
    b, _ = ModelObjective(settings, model, hand_model)(wrong)
    torch.testing.assert_close(a, b)


def test_samples_of_weight_zero_do_not_count() -> None:
    values = torch.tensor([[1.0], [100.0]])
    assert weighted_mean(values, torch.tensor([1.0, 0.0])).item() == pytest.approx(1.0)
    assert weighted_mean(values, torch.zeros(2)).item() == 0


def test_scaling_to_a_teacher_finds_the_scale() -> None:
    target = torch.randn(2, 21, 3)
    torch.testing.assert_close(scaled_to(0.3 * target, target), target)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModelConfig(width=100, heads=3), "multiple of model.heads"),
        (lambda: ModelConfig(synthesizer_layers=0), "synthesizer_layers is 0"),
        (lambda: EncoderConfig(scales=(1, 3)), "powers of two"),
        (lambda: EncoderConfig(scales=()), "powers of two"),
        (lambda: EncoderConfig(backbone="vit-h", learns="late"), "only the backbone 'hand'"),
    ],
)
def test_impossible_settings_are_refused(build, message) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_the_encoder_is_named_when_its_package_is_missing(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"maskhand\[vit\]"):
        Encoder(EncoderConfig(backbone="vit-h"), 32)


def test_spread_is_larger_where_tokens_are_less_sure(hand_model) -> None:
    model = small_model()
    tokens = torch.zeros(1, 32, dtype=torch.long)
    sure = torch.zeros(1, 32, 64)
    sure[..., 0] = 1
    unsure = torch.full((1, 32, 64), 1 / 64)

    def spread(p: torch.Tensor) -> float:
        pose = model.tokenizer.decode(tokens)
        return model.spread(p, pose, torch.zeros(1, 10), hand_model).mean().item()

    assert spread(sure) == pytest.approx(0, abs=1e-6)
    assert spread(unsure) > 1e-3
    assert np.isfinite(spread(unsure))


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 7), (5, 1, 14), (5, 2, 14), (3, 2, 28)])
def test_a_learning_depthwise_layer_is_the_convolution_and_its_gradients(kernel: int, stride: int, side: int) -> None:
    layer = ClippedDepthwise(6, kernel, stride)
    layer.load_state_dict(
        {"weight": torch.randn(6, 1, kernel, kernel), "bias": 3 * torch.randn(6)}
    )  # clips at both ends
    x = (4 * torch.randn(3, 6, side, side)).requires_grad_()
    learning = layer(x)  # compiled: its weights learn
    assert (learning == 0).any() and (learning == 6).any()
    with torch.no_grad():
        torch.testing.assert_close(learning, layer(x), rtol=1e-5, atol=1e-5)
    inputs = (x, layer.weight, layer.bias)
    weights = torch.randn_like(learning)
    compiled = torch.autograd.grad((weights * learning).sum(), inputs)
    proper = relu6(SameConv.forward(layer, relu6(x)))
    for ours, theirs in zip(compiled, torch.autograd.grad((weights * proper).sum(), inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_backbone_goes_on_from_the_cached_map_as_from_the_image() -> None:
    image = torch.rand(2, 3, 224, 224)
    for learns in ("nothing", "late", "most"):
        backbone = HandBackbone(learns).eval()
        with torch.no_grad():
            maps, _ = backbone.trunk(image)
            whole, cached = backbone(image), backbone.finish({4: maps[8]})
        for scale in (1, 2):
            torch.testing.assert_close(whole[scale], cached[scale], rtol=1e-4, atol=1e-4)
