"""Whether two detections are one hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.geometry.boxes import iou, share_inside
from maskhand.types import Detection


@dataclass(frozen=True, kw_only=True)
class DuplicateConfig:
    """From when on two detections are one hand."""

    iou: float = 0.55
    """Overlap of their boxes."""
    distance: float = 0.25
    """Mean distance of their keypoints, in sizes of the hand."""
    inside: float = 0.7
    """Share of the smaller box inside the other, for hands of the same side, or if one of them is unsure ..."""
    tiny_inside: float = 0.5
    """... and for a box with less than `tiny_area` of the other's area, whatever its side: a fingertip taken for a
    hand."""
    tiny_area: float = 1 / 9
    sure_score: float = 0.9
    """Detection score from which on a hand is sure."""


def same_hand(one: Detection, other: Detection, config: DuplicateConfig) -> bool:
    """Whether two detections are the same hand."""
    smaller, larger = sorted(float((hand.box[2:] - hand.box[:2]).prod()) for hand in (one, other))
    inside = share_inside(one.box, other.box)
    alike = one.side == other.side or min(one.score, other.score) < config.sure_score
    if (alike and inside > config.inside) or (smaller < config.tiny_area * larger and inside > config.tiny_inside):
        return True
    if iou(one.box, other.box[None])[0] > config.iou:
        return True
    if one.keypoints is None or other.keypoints is None:
        return False
    distance = np.linalg.norm(one.keypoints.xy - other.keypoints.xy, axis=1).mean()
    size = max(float(np.ptp(hand.keypoints.xy, axis=0).max()) for hand in (one, other) if hand.keypoints is not None)
    return bool(distance < config.distance * size)
