"""Rows and batches of feature shards."""

from __future__ import annotations

import numpy as np
import torch

from maskhand.backbones.hand import CACHED_BLOCK
from maskhand.data.cached import CachedSamples, mixed_batches, mixed_indices, shifted
from maskhand.data.feature_cache import (
    complete_shards,
)
from maskhand.detection.landmark_network import shared_landmark_network


def test_batches_hold_their_shares_and_every_row_comes_once_an_epoch() -> None:
    seen = np.concatenate([mixed_indices([20, 7], [0.75, 0.25], 8, seed=1, step=k)[0] for k in range(10)])
    assert len(seen) == 60
    assert all((np.sort(seen[e * 20 : e * 20 + 20]) == np.arange(20)).all() for e in range(3))
    a, b = (mixed_indices([20, 7], [0.75, 0.25], 8, seed=1, step=4) for _ in range(2))
    assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_shifted_rows_are_what_the_trunk_sees_of_a_shifted_crop() -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 30, 30), size=(240, 240), mode="bicubic").clamp(0, 1)
    trunk = shared_landmark_network().trunk

    def rows(right: int, down: int) -> dict[str, torch.Tensor]:
        """Of a crop in which everything lies so far to the right and below."""
        crop = image[..., 8 - down : 232 - down, 8 - right : 232 - right]
        places = torch.tensor([[[0.1 + 2 * right / 224, -0.2 + 2 * down / 224, 0.9, 0.3]]])
        return {"map8": trunk.maps(crop, CACHED_BLOCK)[8], "points": places, "keypoints_2d": places[..., :2]}

    got, wanted = shifted(rows(0, 0), np.array([[1, -1]])), rows(8, -8)
    torch.testing.assert_close(got["points"], wanted["points"])
    torch.testing.assert_close(got["keypoints_2d"], wanted["keypoints_2d"])
    inside = (..., slice(8, -8), slice(8, -8))  # the network pads with zeros, which differ
    torch.testing.assert_close(got["map8"][inside], wanted["map8"][inside], rtol=1e-4, atol=1e-4)
    assert got["map8"].shape == wanted["map8"].shape


def test_batches_are_shifted_by_at_most_what_was_asked_and_the_same_each_time(shards) -> None:
    table = CachedSamples(complete_shards(shards / "synthetic"))
    still, one, other = (next(mixed_batches([table], [1.0], 8, 3, [2], shift=shift)) for shift in (0, 1, 1))
    by = (one["keypoints_2d"] - still["keypoints_2d"]) / (2 / 28)
    assert set(by.round().unique().tolist()) == {-1, 0, 1} and (by - by.round()).abs().max() < 1e-3
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_only_what_is_large_stays_open(shards) -> None:
    assert all(
        set(shard) == {"map8", "jpeg", "jpeg_end"} for shard in CachedSamples(complete_shards(shards / "photos")).shards
    )


def test_kept_crops_come_back_as_they_were(shards) -> None:
    photos = CachedSamples(complete_shards(shards / "photos"))
    rows = photos.images(np.array([4, 1]))
    assert rows["image"].shape == (2, 224, 224, 3)
    assert [round(float(image.float().mean())) for image in rows["image"]] == [160, 40]
    torch.testing.assert_close(rows["keypoints_2d"], photos.rows(np.array([4, 1]))["keypoints_2d"])
