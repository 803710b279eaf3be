"""Axis-aligned boxes x1, y1, x2, y2 [px]."""

from __future__ import annotations

import numpy as np


def box_around(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """(n, 2) points to the box about them, wider by `margin` on every side."""
    return np.concatenate([points.min(0) - margin, points.max(0) + margin])


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with (N, 4) boxes, x1, y1, x2, y2."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = (high - low).clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    return shared / np.maximum((box[2:] - box[:2]).clip(0).prod() + areas - shared, 1e-9)


def share_inside(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the smaller of two boxes that lies inside the other."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    smaller = min(float((box[2:] - box[:2]).prod()) for box in (one, other))
    return float((high - low).clip(0).prod()) / max(smaller, 1e-6)
