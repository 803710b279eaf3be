"""Photos that teach or measure the hand detector: boxes from files, and boxes on which two readings agree.

The folder layout is that of the project's development data (docs/data.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from maskhand.data.box_files import BoxedPhoto, boxed_photos
from maskhand.data.matting import matte
from maskhand.data.photos import MAX_CONTRADICTION, SourcePhoto, development_photos, mean_landmarks
from maskhand.detection.hand_detector import HandDetector
from maskhand.detection.landmark_reader import LandmarkReader
from maskhand.keypoints.fusion import keypoint_disagreement
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.synthesis.cutouts import FLESH, Cutout, CutoutHand, direction_of, outline_of, outline_of_box
from maskhand.types import Detection

HELD_OUT_RECORDING = "VID_20220120_191947"
"""Of `gloves`: each of its frames shows one gloved and one bare hand."""
_SURE = 0.8
_VIDEO_STEP = 12
_VIEWS = 3


def boxed_cutouts(photos: Iterable[BoxedPhoto], reader: LandmarkReader | None = None) -> Iterator[Cutout]:
    """Photos with boxes, as ellipses.

    reader: the landmark network, where hands are bare: tells side and direction where it is sure.
    """
    for photo in photos:
        image, boxes = photo.read()
        yield Cutout(image, tuple(_boxed(image, box, reader) for box in boxes))


def _boxed(image: np.ndarray, box: np.ndarray, reader: LandmarkReader | None) -> CutoutHand:
    hand = reader.read_box(image, box) if reader else None
    if hand is None or hand.score < _SURE:
        return CutoutHand(outline_of_box(box))
    return CutoutHand(outline_of_box(box), hand.right, direction_of(hand.xy))


def glove_photos(root: str | Path, *, held_out: bool) -> Iterator[Cutout]:
    """People with and without gloves: the recording that measures, or all others."""
    photos = boxed_photos(Path(root) / "hand_boxes" / "gloves")
    return boxed_cutouts(p for p in photos if (p.path.name.rsplit("-", 1)[0] == HELD_OUT_RECORDING) == held_out)


def read_cutouts(root: str | Path, *, sources: tuple[str, ...]) -> Iterator[Cutout]:
    """Photos whose hands the landmark network reads alike in several crops; of a plain wall's also the cut-out hand.

    Args:
        root: folder of the development data.
        sources: "sign_digits", "real_crops", "videos".

    """
    detector = HandDetector(OnnxEngine())
    for k, photo in enumerate(_training_photos(root, sources)):
        hands = [hand for hand in detector.detect(photo.image) if hand.points.presence > _SURE]
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


def _agreed(detector: HandDetector, image: np.ndarray, hand: Detection, rng: np.random.Generator):
    """The hand as a cut-out's; None where readings of it contradict each other."""
    flat, _ = mean_landmarks(detector.reader, image, hand, rng, views=_VIEWS)
    if keypoint_disagreement(hand.xy[None], flat[None])[0] > (MAX_CONTRADICTION):
        return None
    size = float(np.linalg.norm(flat.max(0) - flat.min(0)))
    return CutoutHand(outline_of(flat, FLESH * size), hand.right, direction_of(flat))


def cutout_sources(root: str | Path, boxes: str | Path) -> dict[str, Iterator[Cutout]]:
    """What trains the hand detector, by source, and `held_out`, which judges it.

    Args:
        root: folder of the development data.
        boxes: folder with our own boxes of photos that came without, training.json and held_out.json.

    """
    reader = HandDetector(OnnxEngine()).reader
    photos, boxes = Path(root) / "hand_boxes", Path(boxes)
    read = {name: read_cutouts(root, sources=(name,)) for name in ("real_crops", "sign_digits", "videos")}
    own = list(boxed_photos(photos, boxes / "training.json"))
    return {
        "gloves": glove_photos(root, held_out=False),
        "lebanese": boxed_cutouts(boxed_photos(photos / "lebanese"), reader),
        "marked": boxed_cutouts((photo for photo in own if len(photo.shares)), reader),
        "none": boxed_cutouts(photo for photo in own if not len(photo.shares)),
        **read,
        "held_out": chain(
            glove_photos(root, held_out=True), boxed_cutouts(boxed_photos(photos, boxes / "held_out.json"))
        ),
    }
