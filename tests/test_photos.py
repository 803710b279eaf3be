"""Real photos as training data: hands cut out of plain backgrounds and put before others."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from maskhand.data.matting import matte, put_before
from maskhand.data.photos import development_photos, photo_samples


def plain_photo() -> tuple[np.ndarray, np.ndarray]:
    """A brown shape with a hole before an unevenly lit wall, and where it is."""
    shape = np.zeros((120, 100), np.uint8)
    cv2.ellipse(shape, (50, 70), (25, 35), 0, 0, 360, 1, -1)
    cv2.rectangle(shape, (40, 95), (60, 119), 1, -1)
    cv2.circle(shape, (50, 60), 7, 0, -1)
    wall = np.linspace(200, 235, 100)[None, :, None] * np.ones((120, 1, 3))
    rng = np.random.default_rng(0)
    image = np.where(shape[..., None] > 0, (150, 100, 80), wall) + rng.normal(0, 3, (120, 100, 3))
    return image.clip(0, 255).astype(np.uint8), shape > 0


def test_what_stands_before_a_plain_wall_is_cut_out_with_its_holes() -> None:
    image, inside = plain_photo()
    found = matte(image) > 0.5
    assert (found & inside).sum() / (found | inside).sum() > 0.9
    assert not found[60, 50], "the hole"


def test_an_empty_wall_has_nothing_to_cut_out() -> None:
    assert matte(np.full((50, 40, 3), 200, np.uint8)).max() == 0


def test_a_hand_is_kept_and_the_rest_replaced() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    share = np.zeros((4, 4), np.float32)
    share[1], share[2] = 1, 0.5
    seen = put_before(image, share, np.full((4, 4, 3), 0.8, np.float32))
    assert (seen[0] == 204).all() and (seen[1] == 100).all() and (seen[2] == 152).all()


def test_hands_of_plain_photos_get_other_backgrounds_in_all_crops_but_the_first(development_data) -> None:
    photo = next(p for p in development_photos(development_data, only="sign_digits") if p.plain)
    before, after = (list(photo_samples(iter([replace(photo, plain=plain)]), crops=2, seed=1)) for plain in (False, True))
    (same, _), (kept, truth) = after
    assert np.array_equal(same, before[0][0])
    assert np.array_equal(truth["keypoints_2d"], before[1][1]["keypoints_2d"])
    unchanged = (kept == before[1][0]).all(-1)
    knuckles = ((truth["keypoints_2d"][[5, 9, 13]] + 1) / 2 * len(kept)).astype(int)
    assert unchanged[knuckles[:, 1], knuckles[:, 0]].all(), "the hand is the same"
    assert unchanged.mean() < 0.6, "what is behind it is not"
