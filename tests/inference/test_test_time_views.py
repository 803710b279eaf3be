"""Averaged views."""

from __future__ import annotations

import numpy as np
import torch
from tests.helpers import keypoints_of

from maskhand import load
from maskhand.geometry.crop import Crop
from maskhand.inference.test_time_views import average_views, views_around
from maskhand.synthesis.views import random_rotations
from maskhand.types import Prediction


def test_several_views_give_the_same_hands_in_the_same_place(predictor, demo_image) -> None:
    """Views are averaged in the first one's axes: a mistake in turning them back would tear the hand apart."""
    steady = load("large")
    assert steady.reconstructor.views > 1
    one, several = (sorted(p(demo_image), key=lambda h: h.box[0]) for p in (predictor, steady))
    assert [h.side for h in several] == ["right", "left"]
    for hand, other in zip(one, several, strict=True):
        size = (hand.box[2:] - hand.box[:2]).max()
        assert np.linalg.norm(hand.keypoints - other.keypoints, axis=1).mean() < 0.06 * size
        a, b = (h.joints - h.joints[:1] for h in (hand, other))
        assert np.linalg.norm(a - b, axis=1).mean() < 0.012
        identity = np.tile(np.eye(3), (16, 1, 1))
        np.testing.assert_allclose(other.pose @ other.pose.transpose(0, 2, 1), identity, atol=1e-4)


def test_views_of_a_mirrored_hand_come_back_to_the_first_ones_axes() -> None:
    """A pose turned into every view's own axes and averaged is the pose again, left hands too."""
    for mirrored in (False, True):
        views = views_around(Crop((100.0, 80.0), 60.0, 0.7, mirrored), 5)
        flip = np.diag([-1.0 if mirrored else 1.0, 1, 1])
        pose = random_rotations(16).double()
        poses, points = pose.repeat(5, 1, 1, 1), torch.zeros(5, 21, 4).double()
        place = np.random.default_rng(0).uniform(70, 130, (21, 2))
        for k, view in enumerate(views):
            turn = flip @ view.camera_rotation().T @ views[0].camera_rotation() @ flip
            poses[k, 0] = torch.from_numpy(turn) @ pose[0]
            points[k, :, :2] = torch.from_numpy(view.to_crop(place))
            points[k, :, 3] = 1.0 / view.side
        camera = torch.tensor([[10 / view.side, 0.0, 0.0] for view in views]).double()
        rest = *(torch.zeros(5, 64),) * 2, *(torch.zeros(5, 21),) * 2, torch.zeros(5)
        prediction = Prediction(poses, torch.zeros(5, 10), camera, keypoints_of(points), *rest)
        mean = average_views(prediction, views, 5)
        torch.testing.assert_close(mean.pose[0], pose, atol=1e-6, rtol=0)
        torch.testing.assert_close(mean.keypoints.xy[0], torch.from_numpy(views[0].to_crop(place)))
        torch.testing.assert_close(mean.weak_camera[0, 0], camera[0, 0])
        torch.testing.assert_close(mean.keypoints.depth[0], torch.full((21,), 1 / views[0].side).double())
