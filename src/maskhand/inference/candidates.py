"""What may be a hand: a detection, the crop to read it in, and after prediction everything selection needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskhand.geometry.crop import Crop, CropConfig, crop_around
from maskhand.types import Detection, Prediction, Side


@dataclass(frozen=True, eq=False)
class Candidate:
    """One reading to try."""

    detection: Detection
    crop: Crop
    """`mirrored`: read as a left hand."""
    side_given: bool = False
    """Whether somebody said which side it is: a hand of the other side in the crop is another hand."""
    others: tuple[np.ndarray, ...] = ()
    """Boxes (4,) of the photo's other hands [px]."""

    @property
    def side(self) -> Side:
        return "left" if self.crop.mirrored else "right"

    @property
    def boxes(self) -> list[np.ndarray]:
        """Its own box, then the others'."""
        return [self.detection.box, *self.others]


@dataclass(frozen=True, eq=False)
class Reading:
    """A candidate with its prediction (a batch of one) and what it is judged by."""

    candidate: Candidate
    prediction: Prediction
    joint_confidence: np.ndarray
    """(21,)."""
    reprojection: float
    """Mean distance of the predicted hand to its keypoints, crop from -1 to 1."""

    @property
    def confidence(self) -> float:
        return float(self.joint_confidence.mean())

    @property
    def disagreement(self) -> float:
        """NaN where there is one network's opinion only."""
        return float(self.prediction.disagreement[0])

    @property
    def sureness(self) -> float:
        """Detection score times confidence: what hands are ranked by."""
        return self.candidate.detection.score * self.confidence


def candidates_of(
    detections: Sequence[Detection], sides: Sequence[Side | None], unsure_side: float, crop: CropConfig
) -> list[Candidate]:
    """One candidate per detection, or one per side where nobody gave the side and the detector is unsure of it.

    Args:
        detections: with keypoints.
        sides: given ones.
        unsure_side: probability of either side from which on the detector is unsure.
        crop: how crops are laid.

    """
    candidates = []
    for detection, given in zip(detections, sides, strict=True):
        unsure = given is None and unsure_side < detection.right < 1 - unsure_side
        others = tuple(hand.box for hand in detections if hand is not detection)
        tried: Sequence[Side] = ("right", "left") if unsure else (given or detection.side,)
        for side in tried:
            if detection.crop is not None and crop.upright:
                around = replace(detection.crop, mirrored=side == "left")
            else:
                around = crop_around(detection.xy, mirrored=side == "left", config=crop)
            candidates.append(Candidate(detection, around, given is not None, others))
    return candidates
