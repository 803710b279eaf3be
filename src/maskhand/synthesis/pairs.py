"""Synthetic photos of a right and a left hand: apart, crossed, interlocked, from the back, of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from maskhand.geometry.boxes import box_around
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.geometry import Part
from maskhand.synthesis.materials import Light
from maskhand.synthesis.scenes import FLESH_M, SceneConfig, SceneGenerator
from maskhand.synthesis.views import PALM_VIEW, rotation_about

PairKind = Literal["apart", "crossed", "interlocked", "back", "first person", "mirrored"]
PAIR_KINDS: tuple[PairKind, ...] = get_args(PairKind)
# Middle of each hand from the middle of both [m], turn in the image [rad], yaw and pitch from the palm view [rad].
_LAYOUTS: dict[str, tuple[float, float, float, float]] = {
    "apart": (-0.12, 0.15, 0.0, 0.0),
    "crossed": (0.05, 0.9, 0.0, 0.0),
    "interlocked": (-0.035, -0.5, 0.0, 0.0),
    "back": (0.12, 0.15, np.pi, 0.0),
    "first person": (0.12, -0.3, np.pi, -np.pi / 3),
    "mirrored": (-0.12, 0.15, 0.0, 0.0),
}


@dataclass(frozen=True)
class HandPair:
    """A photo of a right and a left hand, in this order; sides as the photo shows them."""

    image: np.ndarray
    """(S, S, 3) uint8 RGB."""
    boxes: np.ndarray
    """(2, 4) x1, y1, x2, y2 [px]."""
    keypoints_2d: np.ndarray
    """(2, 21, 2) [px]."""
    keypoints_3d: np.ndarray
    """(2, 21, 3) [m], camera frame."""
    visible: np.ndarray
    """(2, 21) bool: nothing in front."""
    focal_px: float


class PairGenerator(SceneGenerator):
    """Draws pairs of one kind. Sample k of a seed is always the same.

    Args:
        model: right hand.
        kind: how the two lie.
        seed: which.
        size: side of the photos [px].

    """

    def __init__(self, model: HandModel, kind: PairKind, seed: int, size: int = 448) -> None:
        super().__init__(model, SceneConfig(size=size), seed)
        self.kind = kind

    def _view(self, rng: np.random.Generator) -> np.ndarray:
        _, turn, yaw, pitch = _LAYOUTS[self.kind]
        spread = 0.25
        tilt = rotation_about(pitch + rng.normal(0, spread), 0) @ rotation_about(yaw + rng.normal(0, spread), 1)
        return rotation_about(turn + rng.normal(0, 0.2), 2) @ tilt @ PALM_VIEW

    def _sample(
        self, pose: np.ndarray, shape: np.ndarray, vertices: np.ndarray, keypoints: np.ndarray, rng: np.random.Generator
    ) -> HandPair:
        apart = _LAYOUTS[self.kind][0]
        distance, light, tone = rng.uniform(0.5, 0.9), Light.draw(rng), rng.random()
        parts: list[Part] = []
        points = []
        for k, flip in enumerate(np.array([[1.0, 1, 1], [-1.0, 1, 1]])):
            middle = keypoints[k].mean(0)
            place = np.array([apart, 0, distance]) * flip + rng.normal(0, 0.015, 3) + (0, 0, 0.03 * k)
            for part in self._hand(vertices[k] - middle, self._view(rng), tone, rng):
                faces = part.faces if k == 0 else part.faces[:, ::-1]
                parts.append(Part(part.vertices * flip + place, faces, part.colours, part.place, part.skin))
            points.append((keypoints[k] - middle) * flip + place)
        both = np.stack(points)
        flat = both[..., :2] / both[..., 2:]
        low, high = flat.min((0, 1)), flat.max((0, 1))
        side = float((high - low).max() * rng.uniform(1.3, 2.2))
        centre = (low + high) / 2 + rng.normal(0, 0.05, 2) * side
        image, fragments = self.renderer.render(parts, both[0], 1.0, centre, side, light, rng)
        size = self.config.size
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        seen = self._photographed(small ** np.float32(1 / 2.2), rng)
        pixels = ((flat - centre) / side + 0.5) * size
        at = (pixels / size * self.renderer.canvas).astype(int).clip(0, self.renderer.canvas - 1)
        visible = both[..., 2] < fragments.depth[at[..., 1], at[..., 0]] + FLESH_M
        if self.kind == "mirrored":  # as a front camera stores a selfie: the right hand looks like a left one
            seen, pixels = np.ascontiguousarray(seen[:, ::-1]), (pixels * (-1, 1) + (size, 0))[::-1]
            both, visible = (both * (-1, 1, 1))[::-1], visible[::-1]
        boxes = np.stack([box_around(own, 0.06 * float(np.ptp(own, 0).max())).clip(0, size) for own in pixels])
        return HandPair(seen, boxes, pixels, both, visible, float(size / side))
