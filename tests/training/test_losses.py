"""Losses, one by one."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import batch_of, keypoints_of

from maskhand.geometry.camera import project_in_crop, translation_from_weak
from maskhand.geometry.rotations import matrix_from_axis_angle
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.keypoints.config import KeypointHeadConfig
from maskhand.keypoints.heatmap_head import HeatmapKeypoints, KeypointHead
from maskhand.training.extra_losses import (
    EXPECTED_DEPTH_ERROR,
    ExtraLosses,
    certainty_loss,
    collision_loss,
    heatmap_losses,
    keypoint_targets,
    scaled_to,
)
from maskhand.training.paper_losses import hand_losses, masked_cross_entropy, weighted_mean
from maskhand.training.part_maps import part_maps

CAMERA = torch.tensor([[7.0, 0.01, -0.02]])


@pytest.fixture(scope="module")
def head() -> KeypointHead:
    return KeypointHead({1: 8, 2: 8, 4: 8}, (7, 7), KeypointHeadConfig(width=16))


def found(
    head: KeypointHead, places: torch.Tensor, depth: torch.Tensor, certainty: float | None = None
) -> HeatmapKeypoints:
    """What a head that is sure of these places and depths gives."""
    points = torch.cat([places, torch.ones(*depth.shape, 1), depth[..., None]], -1)
    sure = None if certainty is None else torch.full(depth.shape, certainty)
    return HeatmapKeypoints(
        keypoints_of(points, "heatmaps"), head.target_heat(places).log(), torch.empty(4, 1, 1, 1), sure
    )


def targets(hand_model, batch, labelled):
    landmarks = landmark_positions(hand_model, batch["pose"], batch["shape"])
    return keypoint_targets(batch, landmarks, labelled), landmarks


def test_the_truth_costs_nothing_and_a_known_error_what_it_is(hand_model, poses) -> None:
    batch, everyone = batch_of(hand_model, poses), torch.ones(4)
    keypoints = hand_model.keypoints(batch["pose"], batch["shape"])
    terms = hand_losses(batch, batch["pose"], batch["shape"], CAMERA.expand(4, 3), keypoints, everyone)
    assert set(terms) == {"pose", "shape", "joints", "image"} and max(terms.values()) < 1e-5
    off = hand_losses(batch, batch["pose"], batch["shape"] + 0.5, CAMERA.expand(4, 3), keypoints + 0.01, everyone)
    assert off["shape"].item() == pytest.approx(0.5, abs=1e-5) and off["joints"].item() == pytest.approx(0.01, abs=1e-6)


def test_only_hidden_tokens_of_labelled_samples_are_asked_for() -> None:
    log_probabilities = torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.1, 0.9]]]).log()
    tokens, mask = torch.zeros(2, 2, dtype=torch.long), torch.tensor([[True, False], [True, True]])
    loss = masked_cross_entropy(log_probabilities, tokens, mask, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss, -torch.tensor(0.5).log())


def test_the_head_is_taught_the_landmark_networks_places(hand_model, poses, head) -> None:
    batch, everyone, weights = batch_of(hand_model, poses), torch.ones(4), ExtraLosses()
    target, landmarks = targets(hand_model, batch, everyone)
    camera = translation_from_weak(CAMERA.expand(4, 3))
    depth = 7.0 * (landmarks - landmarks[:, :1])[..., 2]
    right, off = (
        heatmap_losses(head, found(head, project_in_crop(points, camera), depth), target, everyone, weights)
        for points in (landmarks, batch["keypoints_3d"])
    )
    assert right["keypoints"] < 0.2 * off["keypoints"] and right["heat"] < off["heat"]
    assert right["depth"] < 0.1 * depth.abs().mean()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.5])
def test_a_photos_depth_counts_as_much_as_is_set(share, hand_model, poses, head) -> None:
    labelled, batch = torch.tensor([1.0, 1.0, 1.0, 0.0]), batch_of(hand_model, poses)
    target, _ = targets(hand_model, batch, labelled)

    def term(depth: torch.Tensor) -> torch.Tensor:
        maps = found(head, batch["keypoints_2d"], depth[:, None].expand(4, 21))
        return heatmap_losses(head, maps, target, labelled, ExtraLosses(photo_depth=share))["depth"]

    far = term(torch.full((4,), 10.0))  # beyond all true depths
    farther = term(torch.tensor([10.0, 10.0, 10.0, 11.0]))
    torch.testing.assert_close(farther - far, torch.tensor(share / (3 + share)), atol=1e-5, rtol=1e-5)


def test_certainty_learns_how_far_off_depths_are(hand_model, poses, head) -> None:
    batch, everyone = batch_of(hand_model, poses), torch.ones(4)
    target, _ = targets(hand_model, batch, everyone)

    def term(error: float, certainty: float) -> float:
        return float(
            certainty_loss(found(head, batch["keypoints_2d"], target.depth + error, certainty), target, everyone)
        )

    for error in (EXPECTED_DEPTH_ERROR, 2 * EXPECTED_DEPTH_ERROR):
        right = EXPECTED_DEPTH_ERROR / error
        assert term(error, right) < min(term(error, 0.8 * right), term(error, 1.25 * right))


def test_bones_that_collide_cost_what_they_penetrate(hand_model) -> None:
    open_hand = torch.eye(3).expand(1, 16, 3, 3)
    swung = open_hand.clone()
    swung[:, 1] = matrix_from_axis_angle(torch.tensor([[0.0, 0.5, 0.0]]))
    costs = [
        float(collision_loss(hand_model.keypoints(pose, torch.zeros(1, 10)))) for pose in (open_hand, swung, swung.mT)
    ]
    assert costs[0] == 0 and max(costs) > 0.001, "the index finger, swung against the middle one, collides with it"


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


def test_samples_of_weight_zero_do_not_count() -> None:
    values = torch.tensor([[1.0], [100.0]])
    assert weighted_mean(values, torch.tensor([1.0, 0.0])).item() == pytest.approx(1.0)
    assert weighted_mean(values, torch.zeros(2)).item() == 0


def test_scaling_to_a_teacher_finds_the_scale() -> None:
    target = torch.randn(2, 21, 3)
    torch.testing.assert_close(scaled_to(0.3 * target, target), target)
