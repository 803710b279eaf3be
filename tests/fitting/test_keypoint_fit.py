from __future__ import annotations

import torch
from tests.helpers import keypoints_of

from maskhand.fitting.keypoint_fit import FitConfig, fit_keypoints, turn_precision
from maskhand.fitting.prediction_fit import fit_prediction
from maskhand.geometry.camera import CROP_FOCAL, project_in_crop, weak_from_translation
from maskhand.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.hand_model.layer import HandModel
from maskhand.types import Prediction

EXPECTED_TURNS = torch.tensor(FitConfig().expected_turns)


def bent(hand_model, pose: torch.Tensor, angle: float) -> torch.Tensor:
    """The pose with every finger's MCP and PIP bent further."""
    axes = JointAxes.of(hand_model)
    turned = pose.clone()
    for joint in (1, 2, 4, 5, 7, 8, 10, 11):
        axis = torch.tensor(axes.flexion[joint - 1], dtype=torch.float32)
        turned[:, joint] = turned[:, joint] @ matrix_from_axis_angle(axis[None] * angle)
    return turned


def test_a_wrongly_bent_hand_is_bent_back_by_its_keypoints(hand_model, poses) -> None:
    shape, at = torch.zeros(len(poses), 10), torch.tensor([0.0, 0.0, 0.8]).expand(len(poses), 3)
    truth = hand_model.keypoints(poses, shape)
    target = project_in_crop(truth, at)
    start = bent(hand_model, poses, 0.25)
    fitted, where = fit_keypoints(hand_model, start, shape, at, target, torch.ones(len(poses), 21), focal=CROP_FOCAL)
    before, after = (
        project_in_crop(hand_model.keypoints(p, shape), t) - target for p, t in ((start, at), (fitted, where))
    )
    assert after.norm(dim=-1).mean() < 0.25 * before.norm(dim=-1).mean()
    off = [(hand_model.keypoints(p, shape) - truth).norm(dim=-1).mean() for p in (start, fitted)]
    assert off[1] < 0.7 * off[0], "and the hand itself comes nearer, not only its picture"


def test_keypoints_without_trust_move_nothing(hand_model, poses) -> None:
    shape, at = torch.zeros(len(poses), 10), torch.tensor([0.0, 0.0, 0.8]).expand(len(poses), 3)
    fitted, where = fit_keypoints(
        hand_model, poses, shape, at, torch.randn(len(poses), 21, 2), torch.zeros(len(poses), 21), focal=CROP_FOCAL
    )
    torch.testing.assert_close(fitted, poses, atol=3e-3, rtol=0)  # bones that touch push a little
    torch.testing.assert_close(where, at.clone(), atol=1e-4, rtol=0)


def test_a_depth_pulls_as_much_as_it_is_trusted(hand_model, poses) -> None:
    shape, at = torch.zeros(len(poses), 10), torch.tensor([0.0, 0.0, 0.8]).expand(len(poses), 3)
    truth = hand_model.keypoints(poses, shape)
    scale = 2 * CROP_FOCAL / 0.8
    target, depth = project_in_crop(truth, at), scale * (truth - truth[:, :1])[..., 2]
    start, off = bent(hand_model, poses, 0.25), []
    for trust in (0.0, 0.3, 3.0):
        fitted, _ = fit_keypoints(
            hand_model, start, shape, at, target, torch.ones(len(poses), 21), focal=CROP_FOCAL, depth=depth,
            depth_trust=torch.full((len(poses), 21), trust),
        )  # fmt: skip
        off.append(float((hand_model.keypoints(fitted, shape) - truth)[..., 2].abs().mean()))
    assert off[2] < 0.8 * off[1] < 0.8 * off[0]


def test_joints_that_are_expected_to_be_right_hardly_turn(hand_model, poses) -> None:
    shape, at = torch.zeros(len(poses), 10), torch.tensor([0.0, 0.0, 0.8]).expand(len(poses), 3)
    target = project_in_crop(hand_model.keypoints(poses, shape), at)
    start = bent(hand_model, poses, 0.25)
    turned = []
    for expected in (EXPECTED_TURNS, 0.01 * EXPECTED_TURNS):
        fitted, _ = fit_keypoints(
            hand_model, start, shape, at, target, torch.ones(len(poses), 21), focal=CROP_FOCAL, expected_turns=expected
        )
        turned.append(axis_angle_from_matrix(start.mT @ fitted).norm(dim=-1).mean())
    assert turned[1] < 0.1 * turned[0]


def test_an_unsure_keypoint_of_the_models_own_pulls_less_than_a_given_one(hand_model, poses) -> None:
    shape, at = torch.zeros(len(poses), 10), torch.tensor([0.0, 0.0, 0.8]).expand(len(poses), 3)
    start = bent(hand_model, poses, 0.25)
    turned = {}
    for source in ("fused", "user"):
        positions = landmark_positions if source == "fused" else HandModel.keypoints
        confidence = torch.full((len(poses), 21, 1), 0.5)
        known = torch.cat([project_in_crop(positions(hand_model, poses, shape), at), confidence], -1)
        prediction = Prediction(
            pose=start,
            shape=shape,
            weak_camera=weak_from_translation(at),
            keypoints=keypoints_of(known, source),
            tokens=torch.zeros(len(poses), 64, dtype=torch.long),
            token_confidence=torch.ones(len(poses), 64),
            spread=torch.full((len(poses), 21), 0.008),
            heatmap_confidence=torch.ones(len(poses), 21),
            disagreement=torch.zeros(len(poses)),
        )
        fitted = fit_prediction(hand_model, prediction)
        turned[source] = axis_angle_from_matrix(start.mT @ fitted.pose).norm(dim=-1).mean()
    assert turned["fused"] < 0.6 * turned["user"]


def test_joints_bend_about_their_flexion_axis_before_any_other(hand_model, poses) -> None:
    precision = turn_precision(hand_model, EXPECTED_TURNS)
    axes = JointAxes.of(hand_model)
    for joint in (2, 5, 8, 11):
        axis = torch.tensor(axes.flexion[joint - 1], dtype=torch.float32)
        sideways = torch.linalg.cross(axis, torch.tensor([1.0, 0, 0]))
        assert axis @ precision[joint] @ axis < 0.1 * (sideways @ precision[joint] @ sideways)


def test_a_fit_to_wild_keypoints_stays_a_hand(hand_model, poses) -> None:
    shape, at = torch.zeros(len(poses), 10), torch.tensor([0.0, 0.0, 0.8]).expand(len(poses), 3)
    target = project_in_crop(hand_model.keypoints(poses, shape), at) + 0.3 * torch.randn(len(poses), 21, 2)
    fitted, _ = fit_keypoints(hand_model, poses, shape, at, target, torch.ones(len(poses), 21), focal=CROP_FOCAL)
    assert torch.isfinite(fitted).all()
    turned = axis_angle_from_matrix(poses.mT @ fitted).norm(dim=-1)
    assert turned[:, [2, 3, 5, 6]].max() < 1.5
