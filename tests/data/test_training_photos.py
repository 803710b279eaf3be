"""Real photos as training data: hands cut out of plain backgrounds and put before others."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from maskhand.data.matting import matte, put_before
from maskhand.data.photos import SourcePhoto, development_photos, missing_sources, photo_samples, video_frames
from maskhand.detection.hand_detector import HandDetector
from maskhand.errors import InputError
from maskhand.geometry.camera import turn_to_ray
from maskhand.geometry.crop import crop_around
from maskhand.io.photos import read_photo
from maskhand.runtime.onnx_engine import OnnxEngine


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
    before, after = (
        list(photo_samples(iter([replace(photo, plain=plain)]), crops=2, seed=1)) for plain in (False, True)
    )
    (same, _), (kept, truth) = after
    assert np.array_equal(same, before[0][0])
    assert np.array_equal(truth["keypoints_2d"], before[1][1]["keypoints_2d"])
    unchanged = (kept == before[1][0]).all(-1)
    knuckles = ((truth["keypoints_2d"][[5, 9, 13]] + 1) / 2 * len(kept)).astype(int)
    assert unchanged[knuckles[:, 1], knuckles[:, 0]].all(), "the hand is the same"
    assert unchanged.mean() < 0.6, "what is behind it is not"


def test_a_teacher_in_the_photos_frame_is_seen_as_the_crop_sees_it(demo_image, monkeypatch) -> None:
    found = min(HandDetector(OnnxEngine()).detect(demo_image), key=lambda hand: hand.box[0])
    wide = np.pad(demo_image, ((0, 0), (2 * demo_image.shape[1], 0), (0, 0)), mode="edge")
    shifted = found.xy + np.float32([2 * demo_image.shape[1], 0])
    hand = replace(found, keypoints=replace(found.points, xy=shifted))
    monkeypatch.setattr(HandDetector, "detect", lambda self, image: [hand])
    rng = np.random.default_rng(0)

    def facing(image: np.ndarray, hand) -> np.ndarray:
        """A flat hand that faces the camera from where the crop is."""
        height, width = image.shape[:2]
        focal = torch.tensor([read_photo(image).focal_px])
        turn = turn_to_ray(
            torch.tensor(crop_around(hand.xy, mirrored=False).centre), focal, torch.tensor([width, height]) / 2
        )
        return np.c_[rng.uniform(-0.1, 0.1, (21, 2)), np.zeros(21)] @ turn.numpy().T

    ((_, truth),) = photo_samples(iter([SourcePhoto("x", wide, held_out=False)]), crops=1, seed=1, teacher=facing)
    points = truth["keypoints_3d"]
    assert np.ptp(points[:, 2]) < 0.1 * np.ptp(points[:, :2]), "not tilted by where in the photo it lies"


def test_a_teacher_that_contradicts_its_first_reading_teaches_nothing(demo_image, monkeypatch) -> None:
    found = HandDetector(OnnxEngine()).detect(demo_image)[0]
    photo = SourcePhoto("x", demo_image, held_out=False)
    bent = found.xy.copy()
    bent[[8, 12]] = bent[[12, 8]]
    bent[6:9] = bent[10:13] = bent[5]
    for xy, crops in ((found.xy, 2), (bent, 0)):
        hand = replace(found, keypoints=replace(found.points, xy=xy))
        monkeypatch.setattr(HandDetector, "detect", lambda self, image, hand=hand: [hand])
        assert len(list(photo_samples(iter([photo]), crops=2, seed=1))) == crops


def test_a_missing_source_is_named_and_an_unreadable_video_refused(tmp_path) -> None:
    assert len(missing_sources(tmp_path)) == 4
    (tmp_path / "sign_digits").mkdir()
    assert len(missing_sources(tmp_path)) == 3 and list(development_photos(tmp_path)) == []
    (tmp_path / "cut.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"cut\.mp4 cannot be read as a video"):
        next(video_frames(tmp_path / "cut.mp4"))
