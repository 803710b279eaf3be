"""Two networks' keypoints as one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.helpers import keypoints_of

from maskhand.errors import ConfigError
from maskhand.keypoints.fusion import FusionConfig, fuse_keypoints, keypoint_disagreement


def own_points(depth: torch.Tensor) -> torch.Tensor:
    """(1, 21, 4) of a head that is rather sure."""
    return torch.cat([torch.rand(1, 21, 2) - 0.5, torch.full((1, 21, 1), 0.7), depth], -1)


def fused(own: torch.Tensor, other: torch.Tensor, config: FusionConfig = FusionConfig()) -> torch.Tensor:
    points = fuse_keypoints(keypoints_of(own, "heatmaps"), keypoints_of(other), config)
    return torch.cat([points.xy, points.confidence[..., None], points.depth[..., None]], -1)


def test_keypoints_count_by_how_far_they_agree() -> None:
    own = own_points(torch.zeros(1, 21, 1))
    other = own + torch.tensor([0.02, 0, 0, 0])
    other[..., 2] = 1.0
    together = fused(own, other)
    shift = (together - own)[..., 0]
    assert ((shift > 0.01) & (shift < 0.02)).all(), "near our own, the finer network's places count most"
    assert (together[..., 2] > own[..., 2]).all()
    torch.testing.assert_close(fused(own, other * torch.tensor([1, 1, 0, 1])), own, msg="unknown ones do not count")
    sure, doubtful = (other * torch.tensor([1, 1, presence, 1]) for presence in (0.985, 0.9))
    torch.testing.assert_close(fused(own, sure), together)
    assert ((fused(own, doubtful) - own)[..., 0] < 0.1 * shift).all(), "a doubted presence counts little"
    wild = other.clone()
    wild[0, 4, :2] += 0.8
    assert (fused(own, wild) - own)[0, 4, :2].norm() < 0.15, "one that lies far off counts little"
    shift = (fused(own, other + torch.tensor([0.5, 0, 0, 0])) - own)[..., 0]
    assert (shift < 0.06).all(), "a hand that lies elsewhere counts little"


def test_depths_count_by_how_far_they_agree() -> None:
    own = own_points(torch.rand(1, 21, 1))
    pulls = []
    for apart, elsewhere in ((0.05, 0.0), (0.6, 0.0), (0.05, 0.5)):
        other = own + torch.tensor([elsewhere, 0, 0.3, apart])
        pulls.append((fused(own, other) - own)[..., 3].mean() / apart)
    near, far, displaced = pulls
    assert 0.3 < near < 1
    assert far < near / 2, "a hand of another depth counts little"
    assert displaced < near / 2, "so does one that lies elsewhere"


def test_one_networks_keypoints_can_be_used_alone() -> None:
    own, other = own_points(torch.zeros(1, 21, 1)), own_points(torch.ones(1, 21, 1))
    for use, wanted in (("heatmaps", own), ("landmark_network", other)):
        torch.testing.assert_close(fused(own, other, FusionConfig(use=use)), wanted)
    presence = replace(FusionConfig(), presence_power=0.0)
    doubted = other * torch.tensor([1, 1, 0.9, 1])
    assert (fused(own, doubted, presence) - own).norm() > (fused(own, doubted) - own).norm()
    with pytest.raises(ConfigError, match=r"fusion\.place_sigma is 0"):
        FusionConfig(place_sigma=0.0)


def test_disagreement_is_a_share_of_the_hand() -> None:
    one = torch.rand(2, 21, 2)
    one[:, 0], one[:, 1] = 0.0, 1.0
    torch.testing.assert_close(keypoint_disagreement(one, one + torch.tensor([0.06, 0.08])), torch.full((2,), 0.1))
