"""Palms in a photo: letterboxing, anchors, weighted non-maximum suppression (MediaPipe's recipe)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.geometry.arrays import to_numpy
from maskhand.geometry.boxes import iou
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
    wide_frame: float = 1.7
    """Side of the wider frame of a closer search, in sides of the photo."""
    tile: float = 0.55
    """Side of its tiles, in sides of the photo."""
    turned_frame: float = 2.4
    """Side of the wide frames of an exhaustive search, in sides of the photo."""


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
    """Finds palms in a photo: in one frame, in more and closer ones, or in turned ones."""

    def __init__(self, engine: Engine, config: PalmConfig = PalmConfig()) -> None:
        self.engine, self.config = engine, config
        self.anchors = _anchors()

    def detect(self, image: np.ndarray) -> list[Palm]:
        """Palms of an RGB uint8 image, surest first."""
        height, width = image.shape[:2]
        return self._in_frames(image, [Crop((width / 2, height / 2), float(max(height, width)), 0.0)])

    def detect_closer(self, image: np.ndarray) -> list[Palm]:
        """The same in a wider frame and in overlapping tiles: for palms that fill the photo, and small ones."""
        height, width = image.shape[:2]
        side = float(max(height, width))
        tile = side * self.config.tile
        tiles = [Crop((x, y), tile, 0.0) for x in _stops(float(width), tile) for y in _stops(float(height), tile)]
        return self._in_frames(image, [Crop((width / 2, height / 2), side * self.config.wide_frame, 0.0), *tiles])

    def detect_turned(self, image: np.ndarray) -> list[Palm]:
        """The same with the photo and a wide frame of it turned by quarter turns.

        Frames are not merged: a palm that is misplaced in one of them would spoil that of another.
        """
        height, width = image.shape[:2]
        centre, side = (width / 2, height / 2), float(max(height, width))
        frames = [
            Crop(centre, side * size, quarter * np.pi / 2)
            for size in (1.0, self.config.turned_frame)
            for quarter in range(4)
        ]
        return [palm for frame in frames[1:] for palm in self._in_frames(image, [frame])]

    def _in_frames(self, image: np.ndarray, squares: list[Crop]) -> list[Palm]:
        views = np.stack([square.extract(image, INPUT_PX) for square in squares])
        outputs = self.engine.run("palms", image=self.engine.array(views))
        raw, scores = to_numpy(outputs["boxes"]), to_numpy(outputs["scores"])
        found: list[tuple[float, np.ndarray]] = []
        for square, values, score in zip(squares, raw, scores, strict=True):
            keep = np.flatnonzero((score > self.config.threshold) & (values[:, 2:4] > 0).all(1))
            rows = values[keep].reshape(-1, 9, 2) / INPUT_PX
            centres, sizes = rows[:, 0] + self.anchors[keep], rows[:, 1]
            points = rows[:, 2:] + self.anchors[keep][:, None]
            corners = np.stack([centres - sizes / 2, centres + sizes / 2], axis=1)
            in_photo = square.to_photo(np.concatenate([corners, points], axis=1) * 2 - 1)
            in_photo[:, :2] = np.sort(in_photo[:, :2], axis=1)  # corners of a turned square
            found += [(float(s), row) for s, row in zip(score[keep], in_photo, strict=True)]
        return [Palm(row[:2].reshape(4), row[2:], score) for score, row in weighted_nms(found, self.config.nms_iou)]


def _stops(length: float, window: float) -> list[float]:
    """Centres of overlapping windows that cover a length."""
    if length <= window:
        return [length / 2]
    count = int(np.ceil(length / (0.8 * window)))
    return list(np.linspace(window / 2, length - window / 2, count))


def weighted_nms(candidates: list[tuple[float, np.ndarray]], threshold: float) -> list[tuple[float, np.ndarray]]:
    """Merge overlapping detections into their score-weighted mean (BlazeFace, 2019). Rows: two box corners, then
    points.
    """
    remaining = sorted(candidates, key=lambda c: -c[0])
    merged = []
    while remaining:
        best = remaining[0]
        overlaps = iou(best[1][:2].reshape(4), np.stack([row[:2].reshape(4) for _, row in remaining]))
        group = [c for c, o in zip(remaining, overlaps, strict=True) if o > threshold] or [best]
        total = sum(score for score, _ in group)
        merged.append((best[0], sum(score * row for score, row in group) / total))
        remaining = [c for c, o in zip(remaining, overlaps, strict=True) if o <= threshold and c is not best]
    return merged  # type: ignore[return-value]
