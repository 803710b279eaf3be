"""Photos that teach or measure the hand detector: boxes from files, and boxes on which two readings agree.

The folder layout is that of the project's development data (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.box_files import boxed_photos
from maskhand.data.matting import matte
from maskhand.data.photos import MAX_CONTRADICTION, SourcePhoto, development_photos, mean_landmarks, read_rgb
from maskhand.detection.hand_detector import PalmHandDetector
from maskhand.keypoints.fusion import keypoint_disagreement
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.synthesis.cutouts import Cutout, CutoutHand, outline_of, outline_of_box
from maskhand.types import Detection

HELD_OUT_RECORDING = "VID_20220120_191947"
"""Of `gloves`: each of its frames shows one gloved and one bare hand."""
TRAINING_CLOTHING, TRAINING_PRODUCE = 400, 301
"""The first so many photos without a hand train, the others measure."""
_SURE = 0.8
_UNSURE = 0.05
_FLESH = 0.06  # a hand's outline lies so far outside its joints, in hand sizes
_VIDEO_STEP = 12
_VIEWS = 3


def glove_photos(root: str | Path, *, held_out: bool) -> Iterator[Cutout]:
    """People with and without gloves: the recording that measures, or all others."""
    for photo in boxed_photos(Path(root) / "hand_boxes" / "gloves"):
        if (photo.path.name.rsplit("-", 1)[0] == HELD_OUT_RECORDING) == held_out:
            image, boxes = photo.read()
            yield Cutout(image, tuple(CutoutHand(outline_of_box(box)) for box in boxes))


def photos_of(root: str | Path, folder: str, pattern: str = "*.jpg") -> list[Path]:
    """Files of a folder of `hand_boxes`, in order."""
    return sorted((Path(root) / "hand_boxes" / folder).glob(pattern))


def photos_without_hands(root: str | Path) -> Iterator[Cutout]:
    """Clothes, shoes, fruit and vegetables that train; a photo in which the palm network sees any hand is left out."""
    detector = PalmHandDetector(OnnxEngine())
    clothing = photos_of(root, "clothing")[:TRAINING_CLOTHING]
    for path in clothing + photos_of(root, "grocery", "produce_*.jpg")[:TRAINING_PRODUCE]:
        image = read_rgb(path)
        if not any(palm.score > _UNSURE for palm in detector.palms.detect(image)):
            yield Cutout(image, ())


def read_cutouts(root: str | Path, *, sources: tuple[str, ...]) -> Iterator[Cutout]:
    """Photos whose hands the landmark network reads alike in several crops; of a plain wall's also the cut-out hand.

    Args:
        root: folder of the development data.
        sources: "sign_digits", "real_crops", "videos", "package".

    """
    detector = PalmHandDetector(OnnxEngine())
    for k, photo in enumerate(_training_photos(root, sources)):
        hands = [hand for hand in detector.detect(photo.image) if hand.score > _SURE]
        rng = np.random.default_rng(k)
        agreed = [cut for cut in (_agreed(detector, photo.image, hand, rng) for hand in hands) if cut is not None]
        if not agreed or len(agreed) < len(hands):
            continue
        yield Cutout(photo.image, tuple(agreed))
        if photo.plain and len(agreed) == 1:
            alpha = matte(photo.image)
            if alpha.any():
                yield Cutout(np.dstack([photo.image, (255 * alpha).astype(np.uint8)]), tuple(agreed))


def _training_photos(root: str | Path, sources: tuple[str, ...]) -> Iterator[SourcePhoto]:
    for folder in ("sign_digits", "real_crops"):
        if folder in sources:
            yield from (photo for photo in development_photos(root, only=folder) if not photo.held_out)
    if "videos" in sources:
        everything = development_photos(root, video_step=_VIDEO_STEP)
        yield from (photo for photo in everything if "#" in photo.name)
    if "package" in sources:
        for k, path in enumerate(photos_of(root, "grocery", "package_*.jpg")):
            if k % 5 != 4:
                yield SourcePhoto(path.name, read_rgb(path), held_out=False)


def _agreed(detector: PalmHandDetector, image: np.ndarray, hand: Detection, rng: np.random.Generator):
    """The hand as a cut-out's; None where readings of it contradict each other."""
    flat, _ = mean_landmarks(detector.reader, image, hand, rng, views=_VIEWS)
    if keypoint_disagreement(hand.xy[None], flat[None])[0] > (MAX_CONTRADICTION):
        return None
    size = float(np.linalg.norm(flat.max(0) - flat.min(0)))
    way = flat[9] - flat[0]
    way = way / max(float(np.linalg.norm(way)), 1e-6)
    return CutoutHand(outline_of(flat, _FLESH * size), hand.right, (float(way[0]), float(way[1])))


def cutout_sources(root: str | Path) -> dict[str, Iterator[Cutout]]:
    """What trains the hand detector, by source, and `held_out`, which judges it."""
    read = {name: read_cutouts(root, sources=(name,)) for name in ("real_crops", "sign_digits", "videos", "package")}
    return {
        "gloves": glove_photos(root, held_out=False),
        "none": photos_without_hands(root),
        **read,
        "held_out": glove_photos(root, held_out=True),
    }
