"""Hands' boxes, sides and directions in a photo, by the project's own one-stage network: one look at the whole photo,
and, if it has more pixels than that shows, a few closer ones where the first saw most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.geometry.arrays import to_numpy
from maskhand.geometry.boxes import iou
from maskhand.geometry.crop import Crop
from maskhand.types import Engine

INPUT_PX = 320


@dataclass(frozen=True, kw_only=True)
class BoxConfig:
    """Which boxes count, and how closely one looks."""

    threshold: float = 0.34
    """Score from which on a box is read; what counts as a hand is decided after that (`DetectorConfig.score`)."""
    nms_iou: float = 0.5
    """Overlap from which on boxes are merged."""
    closer_from: float = 4.0
    """Larger side of a photo, in sides of the network's input, from which on closer looks follow."""
    tile: float = 0.4
    """Side of a closer look, in larger sides of the photo."""
    tiles: int = 4
    """How many of them at most."""
    tile_score: float = 0.15
    """Score that a tile needs to be looked at."""
    tile_hand: float = 0.5
    """Larger side of a hand, in sides of its tile, above which the overview sees it better."""


@dataclass(frozen=True)
class FoundHand:
    """A hand in a photo [px]."""

    box: np.ndarray
    """(4,) x1, y1, x2, y2."""
    score: float
    right: float
    """Probability of a right hand."""
    direction: np.ndarray
    """(2,) from the wrist to the middle finger's MCP, of any length."""

    @property
    def angle(self) -> float:
        """By which the hand is turned from upright, clockwise as seen [rad]."""
        return float(np.arctan2(self.direction[1], self.direction[0]) + np.pi / 2)


class BoxDetector:
    """Finds hands in one look, or two at large photos."""

    def __init__(self, engine: Engine, config: BoxConfig = BoxConfig()) -> None:
        self.engine, self.config = engine, config

    def find(self, image: np.ndarray) -> list[FoundHand]:
        """The hands of an (H, W, 3) uint8 RGB image, surest first."""
        height, width = image.shape[:2]
        side = float(max(height, width))
        whole = Crop((width / 2, height / 2), side, 0.0)
        scores, rows = self._look(image, [whole])[0]
        config = self.config
        keep = scores > config.threshold
        found = list(zip(scores[keep].tolist(), rows[keep], strict=True))
        if side > config.closer_from * INPUT_PX and (tiles := self._tiles(width, height, scores, rows)):
            for tile, (near, closer) in zip(tiles, self._look(image, tiles), strict=True):
                found += self._whole_ones(tile, (width, height), near, closer)
        merged = weighted_nms(found, config.nms_iou)
        return [FoundHand(row[:2].reshape(4), score, float(row[2, 0]), row[3]) for score, row in merged]

    def _look(self, image: np.ndarray, squares: list[Crop]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each square (N,) scores and (N, 4, 2) rows [px of the photo]: corners, side, direction."""
        views = np.stack([square.extract(image, INPUT_PX) for square in squares])
        outputs = {name: to_numpy(x) for name, x in self.engine.run("hands", image=self.engine.array(views)).items()}
        looks = []
        for k, square in enumerate(squares):
            corners = square.to_photo(outputs["boxes"][k].reshape(-1, 2, 2) * 2 / INPUT_PX - 1)
            corners = corners.clip(0, image.shape[1::-1])
            right = np.repeat(outputs["right"][k][:, None, None], 2, 2)
            looks.append((outputs["scores"][k], np.concatenate([corners, right, outputs["direction"][k][:, None]], 1)))
        return looks

    def _tiles(self, width: int, height: int, scores: np.ndarray, rows: np.ndarray) -> list[Crop]:
        """Where the overview saw most that a closer look shows better."""
        side = max(width, height) * self.config.tile
        small = (rows[:, 1] - rows[:, 0]).max(1) < self.config.tile_hand * side
        middles = (rows[:, 0] + rows[:, 1]) / 2
        tiles = [Crop((x, y), side, 0.0) for x in _stops(float(width), side) for y in _stops(float(height), side)]
        chosen: list[Crop] = []
        free = small & (scores > self.config.tile_score)
        while free.any() and len(chosen) < self.config.tiles:
            inside = [np.abs(middles - tile.centre).max(1) < 0.45 * side for tile in tiles]
            seen = [float((scores * free * own).max()) for own in inside]
            best = int(np.argmax(seen))
            if not seen[best]:
                break
            chosen.append(tiles[best])
            free &= ~inside[best]
        return chosen

    def _whole_ones(
        self, tile: Crop, size: tuple[int, int], scores: np.ndarray, rows: np.ndarray
    ) -> list[tuple[float, np.ndarray]]:
        """Hands that a tile does not cut, unless the photo's edge does."""
        low, high = np.array(tile.centre) - tile.side / 2, np.array(tile.centre) + tile.side / 2
        margin = 0.02 * tile.side
        cut = ((rows[:, 0] < low + margin) & (low > 1)) | ((rows[:, 1] > high - margin) & (high < np.array(size) - 1))
        keep = (scores > self.config.threshold) & ~cut.any(1)
        return list(zip(scores[keep].tolist(), rows[keep], strict=True))


def _stops(length: float, window: float) -> list[float]:
    """Centres of overlapping windows that cover a length."""
    if length <= window:
        return [length / 2]
    count = int(np.ceil((length - window) / (0.6 * window))) + 1
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
