"""Where hands may be: what a detector finds, or what a user gives, with keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskhand.detection.hand_detector import Detector
from maskhand.detection.landmark_reader import LandmarkReader
from maskhand.types import Detection, Keypoints2D, Side


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """How detections become readings to try."""

    both_sides: bool = True
    """Read a hand as either side where the detector is unsure of it."""


def detected(detector: Detector, reader: LandmarkReader, image: np.ndarray) -> list[Detection]:
    """What a detector finds in an RGB image."""
    return with_keypoints(reader, image, detector.detect(image))


def with_keypoints(reader: LandmarkReader, image: np.ndarray, hands: Sequence[Detection]) -> list[Detection]:
    """Detections with keypoints: their own, or the landmark network's in their boxes, which tells an unknown side
    too.
    """
    bare = [hand for hand in hands if hand.keypoints is None]
    read = iter(reader.read_boxes(image, [hand.box for hand in bare]))
    return [hand if hand.keypoints is not None else _filled(hand, next(read)) for hand in hands]


def _filled(hand: Detection, read: Detection) -> Detection:
    return replace(read, score=hand.score, right=read.right if hand.right == 0.5 else hand.right)


def detections_in_boxes(
    reader: LandmarkReader,
    image: np.ndarray,
    boxes: np.ndarray,
    keypoints: np.ndarray | None,
    sides: Sequence[Side | None] | None,
) -> list[Detection]:
    """Boxes (N, 4) that a user gave, read by the landmark network, with the user's own keypoints (N, 21, 3) if there
    are any.
    """
    detections = reader.read_boxes(image, list(boxes), sides=sides)
    if keypoints is None:
        return detections
    return [
        replace(hand, keypoints=Keypoints2D.of_user(own, fill=hand.xy), crop=None)
        for hand, own in zip(detections, keypoints, strict=True)
    ]
