"""Photo to detections. `HandDetector` is the built-in way; anything with the same `detect` can take its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from maskhand.detection.box_detector import BoxConfig, BoxDetector, FoundHand
from maskhand.detection.duplicates import DuplicateConfig, same_hand
from maskhand.detection.landmark_reader import LandmarkReader, ReaderConfig
from maskhand.types import Detection, Engine


@runtime_checkable
class Detector(Protocol):
    """Finds hands in a photo."""

    def detect(self, image: np.ndarray) -> list[Detection]:
        """All hands of an (H, W, 3) uint8 RGB image, in any order.

        A box and a score are enough. With keypoints (`Keypoints2D.of_user`) the network reads those in place of its
        own; a `right` near 0.5 leaves the side to the predictor.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """How the built-in detector searches."""

    score: float = 0.6
    """Score from which on a hand counts: what its box and the landmark network say of it, as probability."""
    offset: float = -0.17
    """The score's log odds: offset + box * log odds of the box's score + presence * the landmark network's presence.
    Fitted by maximum likelihood on photos that train (`gloves`, `configs/boxes/training.json`)."""
    box: float = 4.0
    presence: float = 3.29
    read_px: float = 64.0
    """Larger side of a box [px] from which on the landmark network's word counts whole; under it by its share."""
    boxes: BoxConfig = BoxConfig()
    reader: ReaderConfig = ReaderConfig()
    duplicates: DuplicateConfig = DuplicateConfig()


class HandDetector:
    """Boxes, sides and directions by our own network, then the landmark network's 21 keypoints in each box."""

    def __init__(self, engine: Engine, config: DetectorConfig = DetectorConfig()) -> None:
        self.boxes, self.reader = BoxDetector(engine, config.boxes), LandmarkReader(engine, config.reader)
        self.config = config

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Hands, surest first, each once."""
        found = self.boxes.find(image)
        read = self.reader.read_boxes(image, [hand.box for hand in found], [hand.angle for hand in found])
        hands = [self._judged(hand, reading) for hand, reading in zip(found, read, strict=True)]
        kept: list[Detection] = []
        for hand in sorted(hands, key=lambda hand: -hand.score):
            if hand.score > self.config.score and not any(same_hand(hand, k, self.config.duplicates) for k in kept):
                kept.append(hand)
        return kept

    def _judged(self, hand: FoundHand, reading: Detection) -> Detection:
        """The hand with its score; where the landmark network sees none, the side is the boxes' network's."""
        config, box = self.config, np.clip(hand.score, 1e-6, 1 - 1e-6)
        legible = min(1.0, float((hand.box[2:] - hand.box[:2]).max()) / config.read_px)
        odds = config.offset + config.box * np.log(box / (1 - box)) + config.presence * legible * reading.score
        right = hand.right if reading.crop else reading.right
        return replace(reading, score=float(1 / (1 + np.exp(-odds))), right=right)
