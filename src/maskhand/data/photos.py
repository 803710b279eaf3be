"""Real photos without 3D labels: which may train, which only measure, and the crops made of them.

The folder layout is that of the project's development data (see docs/data.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskhand.backbones.landmark_trunk import INPUT_PX
from maskhand.data.feature_cache import photo_truth
from maskhand.data.matting import matte, put_before
from maskhand.detection.hand_detector import HandDetector
from maskhand.detection.landmark_reader import LandmarkReader
from maskhand.errors import InputError
from maskhand.geometry.augmentation import jittered_crop
from maskhand.geometry.camera import turn_to_ray
from maskhand.geometry.crop import Crop, crop_around
from maskhand.io.photos import PHOTO_SUFFIXES, read_photo
from maskhand.keypoints.fusion import keypoint_disagreement
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.synthesis.backgrounds import background
from maskhand.types import Detection

MAX_CONTRADICTION = 0.07
"""Distance of the landmark network's first reading and its mean over jittered crops, in sizes of the hand, above which
one of them is wrong."""


@dataclass(frozen=True)
class SourcePhoto:
    """A photo or a video frame, and whether it may shape weights."""

    name: str
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    held_out: bool
    plain: bool = False
    """Whether the background is one plain wall, so that the hand can be cut out."""


TRAINING_VIDEOS = ("tfjs_hand_pose/asl_hand.25fps.mp4", "dex_retargeting/human_hand_video.mp4")


def missing_sources(root: str | Path) -> list[str]:
    """The sources of `development_photos` that `root` lacks."""
    return [name for name in ("sign_digits", "real_crops", *TRAINING_VIDEOS) if not (Path(root) / name).exists()]


def development_photos(root: str | Path, *, video_step: int = 2, only: str | None = None) -> Iterator[SourcePhoto]:
    """Every photo of the sources marked for training that are there, the held-out ones flagged; of one, if `only` names
    it.

    Held out: a fifth of the blocks of ten file numbers of sign_digits (the nearest thing to persons there), every fifth
    file of each folder of real_crops.
    """
    root = Path(root)
    if only in (None, "sign_digits"):
        for path in sorted((root / "sign_digits").rglob("*.JPG")):
            block = int(path.stem.split("_")[1]) // 10
            yield SourcePhoto(str(path.relative_to(root)), read_rgb(path), held_out=block % 5 == 0, plain=True)
    if only in (None, "real_crops"):
        for folder in sorted(p for p in (root / "real_crops").glob("*") if p.is_dir()):
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
            for k, path in enumerate(files):
                yield SourcePhoto(str(path.relative_to(root)), read_rgb(path), held_out=k % 5 == 4)
    if only is None:
        for video in (video for video in TRAINING_VIDEOS if (root / video).exists()):
            for k, frame in enumerate(video_frames(root / video)):
                if k % video_step == 0:
                    yield SourcePhoto(f"{video}#{k}", frame, held_out=False)


def read_rgb(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} cannot be read as an image; fetch it again or remove it")
    return np.ascontiguousarray(image[:, :, ::-1])


def video_frames(path: str | Path) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB frames of a video.

    Raises:
        InputError: it has none that can be read.

    """
    capture = cv2.VideoCapture(str(path))
    ok, frame = capture.read()
    if not ok:
        raise InputError(f"{path} cannot be read as a video; fetch it again or remove it")
    while ok:
        yield np.ascontiguousarray(frame[:, :, ::-1])
        ok, frame = capture.read()


LandmarkTeacher = Callable[[np.ndarray, Detection], np.ndarray]
"""From a photo and a hand detected in it to a model's landmarks (21, 3) [m, the photo's camera frame] on its mesh."""


def mean_landmarks(
    reader: LandmarkReader,
    image: np.ndarray,
    hand: Detection,
    rng: np.random.Generator,
    *,
    teacher: LandmarkTeacher | None = None,
    views: int = 6,
) -> tuple[np.ndarray, np.ndarray]:
    """The landmark network's mean over jittered crops: (21, 2) [px] and (21, 3) [m] in the photo's axes.

    In 3D: its keypoints with their depth, as the crop sees them, which are nearer to the truth on real photos than its
    metric output, brought to that output's size; with a `teacher`, its landmarks in the photo's camera frame.
    """
    crop = crop_around(hand.xy, mirrored=hand.side == "left")
    readings = reader.read(image, [jittered_crop(crop, rng) for _ in range(views)])
    flat = np.mean([reading.xy for reading in readings], 0)
    if teacher is not None:
        return flat, teacher(image, hand).astype(np.float64)
    relief = np.mean([reading.relief for reading in readings], 0)
    size = np.mean([np.linalg.norm(reading.world - reading.world[:1]) for reading in readings])  # type: ignore[index]
    return flat, relief * size / np.linalg.norm(relief)


def photo_samples(
    photos: Iterator[SourcePhoto], *, crops: int, seed: int, teacher: LandmarkTeacher | None = None
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """`crops` jittered, recoloured crops of the surest hand of each photo, with the teacher's keypoints as truth.

    Hands before a plain wall are cut out and put before something else in all crops but the first. A photo on which the
    landmark network contradicts itself (`MAX_CONTRADICTION`) teaches nothing.
    """
    detector = HandDetector(OnnxEngine())
    for k, photo in enumerate(photos):
        detections = detector.detect(photo.image)
        if not detections:
            continue
        rng, hand = np.random.default_rng((seed, k)), detections[0]
        own = hand.xy
        flat, world = mean_landmarks(detector.reader, photo.image, hand, rng, teacher=teacher)
        if keypoint_disagreement(own[None], flat[None])[0] > MAX_CONTRADICTION:
            continue
        matted = matte(photo.image) if photo.plain else None
        for number in range(crops):
            crop = jittered_crop(crop_around(own, mirrored=hand.side == "left"), rng)
            image = recoloured(crop.extract(photo.image, INPUT_PX), rng)
            if matted is not None and matted.any() and number > 0:
                image = put_before(image, crop.extract(matted, INPUT_PX), background(INPUT_PX, rng))
            ahead = np.eye(3) if teacher is None else _straight_ahead(photo.image, crop)
            in_crop = world @ ahead @ crop.camera_rotation()
            yield image, photo_truth(crop.to_crop(flat), in_crop * ([-1, 1, 1] if crop.mirrored else 1))


def _straight_ahead(image: np.ndarray, crop: Crop) -> np.ndarray:
    """(3, 3) from the photo's camera frame to that of a camera that looks straight at the crop, for rows of points."""
    height, width = image.shape[:2]
    focal = np.array([read_photo(image).focal_px])
    return turn_to_ray(np.array(crop.centre), focal, np.array([width / 2, height / 2]))


def recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other exposure and white balance."""
    gain = rng.normal(1, 0.08, 3) * rng.uniform(0.75, 1.2)
    values = (image.astype(np.float32) / 255 * gain).clip(0, 1) ** rng.uniform(0.8, 1.25)
    return (values * 255).astype(np.uint8)
