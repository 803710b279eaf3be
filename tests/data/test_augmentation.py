"""Crops turned, scaled and shifted with their truth."""

from __future__ import annotations

import torch

from maskhand.data.augmentation import augmented


def test_an_augmented_crop_shows_its_hand_where_its_truth_says(hand_model, poses) -> None:
    torch.manual_seed(0)
    pose, shape = poses[:4], torch.zeros(4, 10)
    points = hand_model.keypoints(pose, shape)
    places = 4 * points[..., :2]  # a camera far away
    x, y = (torch.arange(96) * 2 + 1) / 96 - 1, (torch.arange(96) * 2 + 1) / 96 - 1
    spot = ((x - places[:, 8, :1, None]).square() + (y[:, None] - places[:, 8, 1:, None]).square()) < 0.05**2
    image = (255 * spot)[..., None].expand(-1, -1, -1, 3).to(torch.uint8)
    batch = {"image": image, "pose": pose, "keypoints_2d": places, "keypoints_3d": points}
    same = augmented(batch, 0.0)
    assert same["keypoints_2d"] is places and torch.equal(same["image"], image.permute(0, 3, 1, 2) / 255)
    moved_batch = augmented(batch, 3.0)
    seen = moved_batch["image"]
    light = seen.mean(1) / seen.mean(1).sum((1, 2), keepdim=True)
    where = torch.stack([(light.sum(1) * x).sum(1), (light.sum(2) * y).sum(1)], -1)
    torch.testing.assert_close(where, moved_batch["keypoints_2d"][:, 8], atol=0.015, rtol=0)
    torch.testing.assert_close(
        hand_model.keypoints(moved_batch["pose"], shape), moved_batch["keypoints_3d"], atol=1e-6, rtol=0
    )
    by = moved_batch["keypoints_2d"] - places
    assert by.abs().amax((1, 2)).min() > 0.03 and (where - places[:, 8]).norm(dim=-1).min() > 0.02, "they have moved"
    flat, wanted = moved_batch["keypoints_3d"][..., :2], moved_batch["keypoints_2d"]
    grown = (wanted[:, 8] - wanted[:, 0]).norm(dim=-1) / (flat[:, 8] - flat[:, 0]).norm(dim=-1)
    torch.testing.assert_close(wanted - wanted[:, :1], grown[:, None, None] * (flat - flat[:, :1]), atol=1e-5, rtol=0)
