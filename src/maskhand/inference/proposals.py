"""Where hands may be: rounds of detection, each of which sees what was selected before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskhand.detection.hand_detector import Detector, PalmHandDetector
from maskhand.detection.landmark_reader import LandmarkReader
from maskhand.geometry.arrays import to_numpy
from maskhand.geometry.boxes import box_around
from maskhand.inference.candidates import Proposal, Reading
from maskhand.inference.selection import SelectionConfig, is_doubted
from maskhand.types import Detection, Keypoints2D


@dataclass(frozen=True, kw_only=True)
class ProposalConfig:
    """Which rounds follow the first detection."""

    both_sides: bool = True
    """Read a hand as either side where the detector is unsure of it."""
    around_doubted: bool = True
    """Crops of other sizes around a hand of which the two networks see different keypoints."""
    turned_if_none: bool = True
    """Turned and wide frames of a photo in which no hand was selected."""
    turned_confidence: float = 0.55
    """Confidence that a hand found in a turned frame needs."""


ProposalRound = Callable[[np.ndarray, Sequence[Reading]], Proposal]
"""From an RGB image and the readings selected so far."""


def detector_rounds(detector: Detector, reader: LandmarkReader) -> list[ProposalRound]:
    """The one round of a detector of one's own: hands without keypoints are read by the landmark network."""

    def detected(image: np.ndarray, selected: Sequence[Reading]) -> Proposal:
        return Proposal([read_keypoints(reader, image, hand) for hand in detector.detect(image)])

    return [detected]


def built_in_rounds(
    detector: PalmHandDetector, config: ProposalConfig, selection: SelectionConfig
) -> list[ProposalRound]:
    """Palms; then crops around doubted hands; then, if no hand was selected, turned frames."""

    def around_doubted(image: np.ndarray, selected: Sequence[Reading]) -> Proposal:
        doubted = [reading for reading in selected if is_doubted(reading, selection)]
        # In whole pixels, so that their last digits decide nothing.
        boxes = [box_around(_keypoints_in_photo(reading), margin=1.0).round() for reading in doubted]
        return Proposal([hand for box in boxes for hand in detector.detect_around(image, box)], must_agree=True)

    def turned_if_none(image: np.ndarray, selected: Sequence[Reading]) -> Proposal:
        detections = [] if selected else detector.detect_turned(image)
        return Proposal(detections, config.turned_confidence, must_agree=True)

    rounds = detector_rounds(detector, detector.reader)
    return rounds + [around_doubted] * config.around_doubted + [turned_if_none] * config.turned_if_none


def read_keypoints(reader: LandmarkReader, image: np.ndarray, hand: Detection) -> Detection:
    """The detection with keypoints: its own, or the landmark network's in its box, which tells an unknown side too."""
    if hand.keypoints is not None:
        return hand
    read = reader.read_box(image, hand.box)
    right = read.right if hand.right == 0.5 else hand.right
    return Detection(hand.box, hand.score, right, read.keypoints, read.world)


def detections_in_boxes(
    reader: LandmarkReader, image: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray | None
) -> list[Detection]:
    """Boxes (N, 4) that a user gave, read by the landmark network, with the user's own keypoints (N, 21, 3) if there
    are any.
    """
    detections = [replace(reader.read_box(image, box), box=box) for box in boxes]
    if keypoints is None:
        return detections
    return [
        replace(hand, keypoints=Keypoints2D.of_user(own, fill=hand.xy))
        for hand, own in zip(detections, keypoints, strict=True)
    ]


def _keypoints_in_photo(reading: Reading) -> np.ndarray:
    return reading.candidate.crop.to_photo(to_numpy(reading.prediction.keypoints.xy[0]))
