"""Drawn and ranked poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskhand import InputError
from maskhand.inference.hypotheses import mean_pairwise_distance


@pytest.fixture(scope="module")
def hand(predictor, demo_image):
    return min(predictor(demo_image), key=lambda hand: hand.box[0])


def test_hypotheses_are_drawn_by_seed_and_ranked(predictor, demo_image, hand) -> None:
    drawn = predictor.hypotheses(demo_image, hand, 6, seed=3)
    distances = mean_pairwise_distance(torch.from_numpy(np.stack([other.joints for other in drawn])))
    assert len(drawn) == 6 and (distances.diff() > -1e-5).all()
    size = np.ptp(hand.keypoints, axis=0).max()
    for other in drawn:
        assert other.side == hand.side and other.focal_px == hand.focal_px
        assert np.linalg.norm(other.keypoints - hand.keypoints, axis=1).mean() < 0.06 * size
    assert len({other.joints.tobytes() for other in drawn}) == 6
    again, others = (predictor.hypotheses(demo_image, hand, 6, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(again[0].joints, drawn[0].joints)
    assert not np.allclose(others[0].joints, drawn[0].joints)
    assert len(predictor.hypotheses(demo_image, hand, 66, steps=1)) == 66, "more than are drawn at once"
    with pytest.raises(InputError, match="count"):
        predictor.hypotheses(demo_image, hand, 0)


def test_hypotheses_of_a_hand_with_keypoints_given_start_from_them(predictor, demo_image, hand) -> None:
    points = hand.trace.keypoints
    wrong = np.c_[points.xy, points.confidence][None]
    wrong[0, 5:9, :2] += 40.0
    (given,) = predictor.reconstruct(demo_image, keypoints=wrong, sides=["right"])
    assert given.trace.keypoints.source == "user"
    for other in predictor.hypotheses(demo_image, given, 2):
        np.testing.assert_allclose(other.trace.keypoints.xy, given.trace.keypoints.xy, atol=0.01)
        np.testing.assert_allclose(other.trace.keypoints.xy, wrong[0, :, :2], atol=0.01)


def test_poses_that_others_lie_near_come_first() -> None:
    one = torch.randn(21, 3)
    bent = one + torch.tensor([0.0, 0.01, 0.02, 0.9])[:, None, None] * torch.randn(21, 3)
    turned = bent @ torch.linalg.qr(torch.randn(3, 3))[0] + 1  # where a pose is and how it is turned does not count
    distances = mean_pairwise_distance(turned)
    assert distances.argmax() == 3
    torch.testing.assert_close(mean_pairwise_distance(turned.repeat(40, 1, 1))[:4], distances, rtol=0.02, atol=1e-4)
    assert mean_pairwise_distance(one[None]) < 1e-5
