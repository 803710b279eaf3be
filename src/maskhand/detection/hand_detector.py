"""Photo to detections. `HandDetector` is the built-in way; anything with the same `detect` can take its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from maskhand.detection.box_detector import BoxConfig, BoxDetector, FoundHand
from maskhand.detection.duplicates import DuplicateConfig, same_hand
from maskhand.detection.landmark_reader import LandmarkReader, ReaderConfig
from maskhand.detection.palm_detector import PalmConfig, PalmDetector
from maskhand.geometry.boxes import box_around, iou
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
    palms: PalmConfig = PalmConfig()
    reader: ReaderConfig = ReaderConfig()
    duplicates: DuplicateConfig = DuplicateConfig()


class HandDetector:
    """One look by two networks: our own finds boxes, sides and directions, Google's finds palms; the landmark network
    reads 21 keypoints of each hand.
    """

    def __init__(self, engine: Engine, config: DetectorConfig = DetectorConfig()) -> None:
        self.boxes, self.palms = BoxDetector(engine, config.boxes), PalmDetector(engine, config.palms)
        self.reader, self.config = LandmarkReader(engine, config.reader), config

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Hands, each once: first those around palms, which are read best, surest first; then the others."""
        hands, found, boxed = self._at_palms(image), [], set()
        for box in self.boxes.find(image):
            same = self._at_palm_in(box, hands)
            if same is None:
                found.append(box)
            elif same not in boxed:  # the surest box of a hand is its own: flesh lies around keypoints
                hands[same] = replace(hands[same], box=box.box)
                boxed.add(same)
        read = self.reader.read_boxes(image, [own.box for own in found], [own.angle for own in found])
        for own, reading in zip(found, read, strict=True):
            judged = self._judged(own, reading)
            others = [k for k, other in enumerate(hands) if same_hand(judged, other, self.config.duplicates)]
            if others and reading.crop is None and judged.score > self.config.score:
                hands[others[0]] = judged  # read in a box that what was seen at the palm does not fit
            else:
                hands.append(judged)
        kept: list[Detection] = []
        for hand in hands:
            if hand.score > self.config.score and not any(same_hand(hand, k, self.config.duplicates) for k in kept):
                kept.append(hand)
        return kept

    def _at_palm_in(self, box: FoundHand, hands: list[Detection]) -> int | None:
        """Which of the surely present hands is that of a box; None if none is."""
        reader = self.config.reader
        fitting = {
            k: float(iou(box.box, box_around(hand.xy)[None])[0])
            for k, hand in enumerate(hands)
            if hand.points.presence > reader.sure_presence and reader.fits(hand.xy, [box.box], 0)
        }
        return max(fitting, key=lambda k: fitting[k]) if fitting else None

    def _at_palms(self, image: np.ndarray) -> list[Detection]:
        """The hands around palms; their presence is their score."""
        palms = self.palms.detect(image)
        hands = self.reader.read(image, [palm.crop(self.config.palms) for palm in palms])
        ranked = sorted(zip(hands, palms, strict=True), key=lambda pair: -pair[0].score * pair[1].score)
        present = [hand for hand, _ in ranked if hand.score > self.config.reader.presence]
        return [self.reader.with_handedness(image, hand) for hand in present]

    def _judged(self, hand: FoundHand, reading: Detection) -> Detection:
        """The hand with its score; where the landmark network sees none, the side is the boxes' network's."""
        config, box = self.config, np.clip(hand.score, 1e-6, 1 - 1e-6)
        legible = min(1.0, float((hand.box[2:] - hand.box[:2]).max()) / config.read_px)
        odds = config.offset + config.box * np.log(box / (1 - box)) + config.presence * legible * reading.score
        right = hand.right if reading.crop else reading.right
        return replace(reading, score=float(1 / (1 + np.exp(-odds))), right=right)
