"""What may be a hand: a detection, the crop to read it in, and after prediction everything selection needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskhand.geometry.crop import Crop, CropConfig, crop_around
from maskhand.types import Detection, Prediction, Side


@dataclass(frozen=True)
class Proposal:
    """Detections of one round, and what a reading of them needs to count as a hand."""

    detections: list[Detection]
    required_confidence: float = 0.0
    must_agree: bool = False
    """Counts only if the two networks' keypoints agree, or as another reading of a hand that counts."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One reading to try."""

    detection: Detection
    crop: Crop
    """`mirrored`: read as a left hand."""
    required_confidence: float = 0.0
    must_agree: bool = False

    @property
    def side(self) -> Side:
        return "left" if self.crop.mirrored else "right"


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
    proposal: Proposal, sides: Sequence[Side | None], unsure_side: float, crop: CropConfig
) -> list[Candidate]:
    """One candidate per detection, or one per side where nobody gave the side and the detector is unsure of it.

    Args:
        proposal: its detections have keypoints.
        sides: given ones.
        unsure_side: probability of either side from which on the detector is unsure.
        crop: how crops are laid.

    """
    candidates = []
    for detection, given in zip(proposal.detections, sides, strict=True):
        unsure = given is None and unsure_side < detection.right < 1 - unsure_side
        tried: Sequence[Side] = ("right", "left") if unsure else (given or detection.side,)
        for side in tried:
            around = crop_around(detection.xy, mirrored=side == "left", config=crop)
            candidates.append(Candidate(detection, around, proposal.required_confidence, proposal.must_agree))
    return candidates
