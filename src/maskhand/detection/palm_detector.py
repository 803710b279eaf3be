"""Palms in a photo: letterboxing, anchors, weighted non-maximum suppression (MediaPipe's recipe)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.detection.box_detector import weighted_nms
from maskhand.geometry.arrays import to_numpy
from maskhand.geometry.crop import Crop, snapped_crop
from maskhand.types import Engine

INPUT_PX = 192


@dataclass(frozen=True, kw_only=True)
class PalmConfig:
    """How palms are searched for."""

    threshold: float = 0.5
    """Score from which on a palm counts."""
    nms_iou: float = 0.3
    """Overlap of boxes from which on palms are merged (MediaPipe)."""
    crop_factor: float = 2.6
    """Side of the hand's crop over the palm box (MediaPipe)."""
    crop_shift: float = 0.5
    """How far the crop moves from the palm towards the fingers, in palm boxes (MediaPipe)."""


@dataclass(frozen=True)
class Palm:
    """A palm box and its seven points [px of the photo]."""

    box: np.ndarray
    """(4,) x1, y1, x2, y2."""
    points: np.ndarray
    """(7, 2); the first is the wrist, the third the middle finger's MCP."""
    score: float

    def crop(self, config: PalmConfig) -> Crop:
        """The upright square in which the landmark network expects the hand."""
        dx, dy = self.points[2] - self.points[0]
        angle = float(np.arctan2(dy, dx) + np.pi / 2)
        centre = (self.box[:2] + self.box[2:]) / 2
        width, height = self.box[2:] - self.box[:2]
        shift = config.crop_shift * height * np.array([np.sin(angle), -np.cos(angle)])
        # A coarse grid: engines agree on a palm to a thousandth of its size, on keypoints in one crop far closer.
        return snapped_crop(centre + shift, float(max(width, height)) * config.crop_factor, angle, grid=256)


def _anchors() -> np.ndarray:
    """(2016, 2) centres in [0, 1]: 24 x 24 cells with two anchors each, 12 x 12 with six."""
    centres = []
    for cells, repeats in ((24, 2), (12, 6)):
        steps = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
        centres.append(np.repeat(grid, repeats, axis=0))
    return np.concatenate(centres).astype(np.float32)


class PalmDetector:
    """Finds palms in a photo, in one look."""

    def __init__(self, engine: Engine, config: PalmConfig = PalmConfig()) -> None:
        self.engine, self.config = engine, config
        self.anchors = _anchors()

    def detect(self, image: np.ndarray) -> list[Palm]:
        """Palms of an RGB uint8 image, surest first."""
        height, width = image.shape[:2]
        square = Crop((width / 2, height / 2), float(max(height, width)), 0.0)
        outputs = self.engine.run("palms", image=self.engine.array(square.extract(image, INPUT_PX)[None]))
        values, score = to_numpy(outputs["boxes"])[0], to_numpy(outputs["scores"])[0]
        keep = np.flatnonzero((score > self.config.threshold) & (values[:, 2:4] > 0).all(1))
        rows = values[keep].reshape(-1, 9, 2) / INPUT_PX
        centres, sizes = rows[:, 0] + self.anchors[keep], rows[:, 1]
        points = rows[:, 2:] + self.anchors[keep][:, None]
        corners = np.stack([centres - sizes / 2, centres + sizes / 2], axis=1)
        in_photo = square.to_photo(np.concatenate([corners, points], axis=1) * 2 - 1)
        found = list(zip(score[keep].tolist(), in_photo, strict=True))
        return [Palm(row[:2].reshape(4), row[2:], score) for score, row in weighted_nms(found, self.config.nms_iou)]
