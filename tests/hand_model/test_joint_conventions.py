"""The landmark network's points about our hand's own keypoints."""

from __future__ import annotations

import torch

from maskhand.fitting.keypoint_fit import fit_keypoints
from maskhand.geometry.camera import CROP_FOCAL, project_in_crop
from maskhand.geometry.rotations import nearest_rotation
from maskhand.hand_model.joint_conventions import LANDMARK_OFFSETS_MM, landmark_offsets, landmark_positions
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS, KEYPOINTS
from maskhand.synthesis.views import random_rotations


def test_tips_hang_on_the_last_joint_of_their_finger() -> None:
    assert len(LANDMARK_OFFSETS_MM) == 21
    for tip in (4, 8, 12, 16, 20):
        assert KEYPOINTS[tip].endswith("tip") and KEYPOINT_CARRIERS[tip] == KEYPOINT_CARRIERS[tip - 1]


def test_landmarks_turn_with_the_hand(hand_model, poses) -> None:
    shape = torch.zeros(len(poses), 10)
    turn = random_rotations(1)[0]
    turned = torch.cat([(turn @ poses[:, 0])[:, None], poses[:, 1:]], 1)
    torch.testing.assert_close(
        landmark_positions(hand_model, turned, shape),
        landmark_positions(hand_model, poses, shape) @ turn.T,
        atol=1e-5,
        rtol=0,
    )


def test_landmarks_lie_millimetres_from_the_keypoints(hand_model, poses) -> None:
    off = (
        landmark_positions(hand_model, poses, torch.zeros(len(poses), 10))
        - hand_model.keypoints(poses, torch.zeros(len(poses), 10))
    ).norm(dim=-1)
    torch.testing.assert_close(off, landmark_offsets(poses).norm(dim=-1).expand_as(off))
    assert 0.002 < off.mean() < 0.008


def test_a_fit_to_landmarks_knows_they_are_not_keypoints(hand_model, poses) -> None:
    """The right pose explains its own landmarks: told so, the fit stays; taken for keypoints, they drag it away."""
    shape = torch.zeros(len(poses), 10)
    at = torch.tensor([[0.0, 0.0, 2 * CROP_FOCAL / 7.2]]).expand(len(poses), 3)
    marks = landmark_positions(hand_model, poses, shape)
    target, depth = project_in_crop(marks, at), 2 * CROP_FOCAL / at[:, None, 2] * (marks - marks[:, :1])[..., 2]
    moved = []
    for offsets in (landmark_offsets(poses), None):
        fitted, _ = fit_keypoints(
            hand_model,
            poses,
            shape,
            at,
            target,
            torch.ones(len(poses), 21),
            focal=CROP_FOCAL,
            depth=depth,
            offsets=offsets,
        )
        moved.append((hand_model.keypoints(fitted, shape) - hand_model.keypoints(poses, shape)).norm(dim=-1).mean())
    assert moved[0] < 1e-4 < 0.002 < moved[1]


def test_depth_pulls_a_flipped_finger_round(hand_model, poses) -> None:
    """Seen from the front, bending towards or away from the camera look alike in 2D; the depth tells them apart."""
    shape = torch.zeros(len(poses), 10)
    at = torch.tensor([[0.0, 0.0, 2 * CROP_FOCAL / 7.2]]).expand(len(poses), 3)
    truth = hand_model.keypoints(poses, shape)
    start = poses @ torch.linalg.matrix_exp(0.3 * torch.tensor([[0.0, 0, 0.0], [0, 0, -1.0], [0, 1.0, 0]]))
    target, depth = project_in_crop(truth, at), 2 * CROP_FOCAL / at[:, None, 2] * truth[..., 2]
    off = []
    for known in (None, depth, torch.full_like(depth, torch.nan)):
        fitted, _ = fit_keypoints(
            hand_model, start, shape, at, target, torch.ones(len(poses), 21), focal=CROP_FOCAL, depth=known
        )
        off.append((hand_model.keypoints(fitted, shape) - truth).norm(dim=-1).mean())
    assert off[1] < 0.8 * off[0]
    torch.testing.assert_close(off[2], off[0])


def test_the_nearest_rotation_of_a_mean_lies_between() -> None:
    a, b = random_rotations(2)
    mean = nearest_rotation((a + b) / 2)
    torch.testing.assert_close(mean @ mean.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(mean) > 0
    torch.testing.assert_close((mean - a).norm(), (mean - b).norm(), atol=1e-4, rtol=0)
    torch.testing.assert_close(nearest_rotation(a), a, atol=1e-5, rtol=0)
