"""Which readings are hands: the one place where candidates compete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskhand.detection.duplicates import DuplicateConfig, same_hand
from maskhand.geometry.boxes import share_inside
from maskhand.inference.candidates import Reading
from maskhand.inference.handedness import side_log_odds


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """What counts as a hand."""

    disagreement: float = 0.07
    """Mean distance of the two networks' keypoints, in sizes of the hand, above which a reading is doubted."""
    gross: float = 0.25
    """The same, above which confidence falls. On synthetic images the head alone keeps its promise up to there, gloves,
    cartons and clasped hands included (`maskhand evaluate synthetic --hard`)."""
    sure_score: float = 0.9
    """Detection score that such a reading needs to count at all: faces and prints taken for hands are doubted so."""
    side_odds: float = 10.0
    """Log odds of a side for a factor of e between the reprojection errors of the two readings."""
    doubted_inside: float = 0.5
    """Share of the smaller box inside the other from which on a doubted reading gives way to another one."""
    duplicates: DuplicateConfig = DuplicateConfig()

    def trust(self, disagreement: np.ndarray) -> np.ndarray:
        """What confidence is multiplied by where the two networks see different hands: they cannot both be right. 1
        where there is one network's opinion only.
        """
        return ((self.gross / np.fmax(disagreement, self.gross)) ** 2).astype(np.float32)


def is_doubted(reading: Reading, config: SelectionConfig) -> bool:
    """Whether the two networks see different keypoints; they rarely make the same mistake."""
    return reading.disagreement > config.disagreement


def select(readings: Sequence[Reading], config: SelectionConfig) -> list[Reading]:
    """The hands among the readings, surest first.

    Of the two sides of one detection the likelier one is kept; then what is not sure enough goes; then each hand is
    kept once, readings on which the networks agree before doubted ones, surer before less sure.
    """
    counted = [reading for reading in likelier_sides(readings, config) if _counts(reading, config)]
    kept: list[Reading] = []
    for reading in sorted(counted, key=lambda reading: (is_doubted(reading, config), -reading.sureness)):
        if not any(_same(reading, other, config) for other in kept):
            kept.append(reading)
    return sorted(kept, key=lambda reading: -reading.sureness)


def likelier_sides(readings: Sequence[Reading], config: SelectionConfig) -> list[Reading]:
    """One reading per detection: of two sides the likelier one."""
    by_detection: dict[int, list[Reading]] = {}
    for reading in readings:
        by_detection.setdefault(id(reading.candidate.detection), []).append(reading)
    chosen = []
    for rivals in by_detection.values():
        if len(rivals) == 2:
            as_right, as_left = sorted(rivals, key=lambda reading: reading.candidate.side == "left")
            right, errors = as_right.candidate.detection.right, (as_right.reprojection, as_left.reprojection)
            chosen.append(as_right if side_log_odds(right, *errors, config.side_odds) > 0 else as_left)
        else:
            chosen += rivals
    return chosen


def _counts(reading: Reading, config: SelectionConfig) -> bool:
    return not reading.disagreement > config.gross or reading.candidate.detection.score > config.sure_score


def _same(reading: Reading, other: Reading, config: SelectionConfig) -> bool:
    one, two = reading.candidate.detection, other.candidate.detection
    if is_doubted(reading, config) and share_inside(one.box, two.box) > config.doubted_inside:
        return True
    return same_hand(one, two, config.duplicates)
