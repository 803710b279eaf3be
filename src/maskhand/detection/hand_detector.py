"""Photo to detections. `PalmHandDetector` is the built-in way; anything with the same `detect` can take its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from maskhand.detection.duplicates import DuplicateConfig, same_hand
from maskhand.detection.landmark_reader import LandmarkReader, ReaderConfig
from maskhand.detection.palm_detector import Palm, PalmConfig, PalmDetector
from maskhand.geometry.crop import Crop, crop_of_box
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

    presence: float = 0.5
    """Presence from which on a hand counts."""
    sure_presence: float = 0.9
    """Presence of the surest hand from which on no closer search follows; crops of half a hand rarely have it."""
    closer: bool = True
    """Search a wider frame and tiles, where no hand is sure."""
    whole_photo: float = 0.8
    """Presence that the whole photo must have as a hand's crop, read twice; above 1: it is never read so."""
    around: tuple[float, ...] = (1.0, 1.5, 2.2, 3.3, 5.0)
    """Sizes of the crops around a doubted hand, in its own: from the hand itself to one of which a fingertip was found.
    """
    palms: PalmConfig = PalmConfig()
    reader: ReaderConfig = ReaderConfig()
    duplicates: DuplicateConfig = DuplicateConfig()


class PalmHandDetector:
    """Google's palm detector and landmark network: palms, then 21 keypoints in an upright crop around each."""

    def __init__(self, engine: Engine, config: DetectorConfig = DetectorConfig()) -> None:
        self.palms, self.reader = PalmDetector(engine, config.palms), LandmarkReader(engine, config.reader)
        self.config = config

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Hands around palms, surest first.

        Where none is sure, a closer search follows; where none is sure there either, the photo itself is read as a
        hand's crop: the palm of a hand that fills it is too large for the palm detector.
        """
        ranked = self._at_palms(image, self.palms.detect(image))
        if self.config.closer and not self._any_sure(ranked):
            ranked += self._at_palms(image, self.palms.detect_closer(image))
        if not self._any_sure(ranked):
            first, hand = self.reader.read_upright(image, [_whole(image)])[0]
            presence = min(first.score, hand.score)
            if presence > self.config.whole_photo:
                ranked.append((presence, hand))
        kept: list[Detection] = []
        for _, hand in sorted(ranked, key=lambda pair: -pair[0]):
            if not any(same_hand(hand, other, self.config.duplicates) for other in kept):
                kept.append(hand)
        return [self.reader.with_handedness(image, hand) for hand in kept]

    def detect_turned(self, image: np.ndarray) -> list[Detection]:
        """Hands in turned and wide frames, surest first; in a photo without a hand most of them are none."""
        hands = self.reader.read(image, [palm.crop(self.config.palms) for palm in self.palms.detect_turned(image)])
        present = [hand for hand in hands if hand.score > self.config.presence]
        return [self.reader.with_handedness(image, hand) for hand in sorted(present, key=lambda hand: -hand.score)]

    def detect_around(self, image: np.ndarray, box: np.ndarray) -> list[Detection]:
        """Sure hands in crops of several sizes around a box x1, y1, x2, y2 [px], and in the whole photo."""
        factor = self.config.reader.box_factor
        crops = [crop_of_box(box, mirrored=False, factor=factor * size) for size in self.config.around]
        readings = self.reader.read_upright(image, [*crops, _whole(image)])
        sure = [hand for _, hand in readings if hand.score > self.config.sure_presence]
        return [self.reader.with_handedness(image, hand) for hand in sure]

    def _at_palms(self, image: np.ndarray, palms: list[Palm]) -> list[tuple[float, Detection]]:
        """The hands around palms that are present, with their ranks: presence times the palm's score."""
        hands = self.reader.read(image, [palm.crop(self.config.palms) for palm in palms])
        pairs = zip(hands, palms, strict=True)
        return [(hand.score * palm.score, hand) for hand, palm in pairs if hand.score > self.config.presence]

    def _any_sure(self, ranked: list[tuple[float, Detection]]) -> bool:
        return any(hand.score > self.config.sure_presence for _, hand in ranked)


def _whole(image: np.ndarray) -> Crop:
    height, width = image.shape[:2]
    return crop_of_box(np.array([0, 0, width, height]), mirrored=False, factor=1.0)
