from __future__ import annotations

import pytest
import torch

from maskhand.fitting.keypoint_fit import fit_keypoints
from maskhand.geometry.camera import CROP_FOCAL
from maskhand.geometry.rotations import matrix_from_axis_angle
from maskhand.hand_model.collision import closest, has_collision, penetration_depths


@pytest.mark.parametrize(
    ("p1", "q1", "p2", "q2", "expected"),
    [
        ((0, 0, 0), (1, 0, 0), (0, 2, 0), (1, 2, 0), 2.0),
        ((0, 0, 0), (1, 0, 0), (0.5, -1, 1), (0.5, 1, 1), 1.0),
        ((0, 0, 0), (1, 0, 0), (3, 0, 0), (4, 0, 0), 2.0),
    ],
)
def test_distance_between_segments(p1, q1, p2, q2, expected) -> None:
    p1, q1, p2, q2 = (torch.tensor([p], dtype=torch.float32) for p in (p1, q1, p2, q2))
    s, t = closest(p1, q1, p2, q2)
    assert (torch.lerp(p1, q1, s) - torch.lerp(p2, q2, t)).norm().item() == pytest.approx(expected, abs=1e-5)


def crossed(hand_model) -> torch.Tensor:
    """The open hand, the index finger swung against the middle one until they cut each other by some millimetres."""
    pose = torch.eye(3).repeat(1, 16, 1, 1)
    for angle in torch.linspace(0, 0.6, 60):
        for sign in (-1, 1):
            pose[:, 1] = matrix_from_axis_angle(torch.tensor([[0.0, sign * angle, 0.0]]))
            if penetration_depths(hand_model.keypoints(pose, torch.zeros(1, 10)))[0].max() > 0.003:
                return pose
    raise AssertionError("the index finger does not reach the middle one")


def test_the_gradient_of_depths_says_what_moving_keypoints_does(hand_model, poses) -> None:
    keypoints = hand_model.keypoints(poses, torch.zeros(len(poses), 10)).double()
    before, change = penetration_depths(keypoints)
    step = 1e-6 * torch.randn_like(keypoints)
    after, _ = penetration_depths(keypoints + step)
    torch.testing.assert_close((change * step[:, None]).sum((-1, -2)), after - before, rtol=0, atol=2e-8)


def test_fingers_that_collide_are_parted_by_the_fit(hand_model) -> None:
    pose, shape, at = crossed(hand_model), torch.zeros(1, 10), torch.tensor([[0.0, 0.0, 0.8]])
    nothing = torch.zeros(1, 21, 2), torch.zeros(1, 21)
    fitted, _ = fit_keypoints(hand_model, pose, shape, at, *nothing, focal=CROP_FOCAL)
    keypoints = hand_model.keypoints(fitted, shape)
    assert not has_collision(keypoints)
    moved = (keypoints - hand_model.keypoints(pose, shape)).norm(dim=-1)[0]
    assert moved.max() < 0.03, "and no farther than it takes"
    assert moved[17:].max() < 1e-3, "and the little finger has nothing to do with it"
