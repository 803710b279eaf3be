"""The square that the network sees: where it lies, how pixels get in and points get out. Only here hands are
mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from maskhand.errors import ConfigError, InputError

STEADY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Keypoints that stay where they are when fingers bend (MediaPipe)."""


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How a crop is laid around 2D keypoints."""

    upright: bool = True
    """Turned so that wrist -> middle MCP points up, around the palm; False: the paper's axis-aligned box around all
    keypoints."""
    palm_factor: float = 2.0
    """Side of an upright crop over the larger side of the box around the palm (`STEADY`) (MediaPipe)."""
    palm_shift: float = 0.1
    """How far an upright crop is moved towards the fingers, in heights of that box (MediaPipe)."""
    box_factor: float = 1.5
    """Side of an axis-aligned crop over the larger side of the box around the 21 keypoints."""

    def __post_init__(self) -> None:
        for name in ("palm_factor", "box_factor"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"crop.{name} is {getattr(self, name)}; it must be above 0")


@dataclass(frozen=True)
class Crop:
    """A rotated square of a photo, mirrored for a left hand.

    Crop coordinates run from -1 to 1, x right, y down, in what the network sees (a right hand).
    """

    centre: tuple[float, float]
    """x, y [px of the photo; the centre of the top left pixel is 0.5, 0.5]."""
    side: float
    """[px]."""
    angle: float
    """The crop's right is the photo's right turned by this much, clockwise as seen [rad]."""
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite([*self.centre, self.side, self.angle]).all() and self.side > 0):
            raise InputError(f"crop at {self.centre} with side {self.side} px and angle {self.angle} is no square")

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3): photo pixels to crop coordinates."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        linear = np.array([[cosine, sine], [-sine, cosine]]) * 2 / self.side
        if self.mirrored:
            linear[0] = -linear[0]
        return np.concatenate([linear, -linear @ np.array(self.centre)[:, None]], axis=1)

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) photo pixels to crop coordinates."""
        matrix = self.matrix
        return points @ matrix[:, :2].T + matrix[:, 2]

    def to_photo(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) crop coordinates to photo pixels."""
        matrix = self.matrix
        return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T

    def camera_rotation(self) -> np.ndarray:
        """(3, 3) turn about the optical axis from the crop's axes to the photo's, mirroring left aside."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])

    def extract(self, image: np.ndarray, size: int) -> np.ndarray:
        """The crop's pixels, (size, size, C) uint8 like the image; black outside the photo. Shrinking averages."""
        if not self.angle:
            upright = self._extract_upright(image, size)
            return upright[:, ::-1] if self.mirrored else upright
        to_photo = self._from_unit_square()
        corners = np.array([(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]) @ to_photo.T
        limit = image.shape[1::-1]
        low = np.floor(corners.min(0) - 1).clip(0, limit).astype(int)
        high = np.ceil(corners.max(0) + 1).clip(0, limit).astype(int)
        if (high <= low).any():
            return np.zeros((size, size, *image.shape[2:]), np.uint8)
        part, factor = Image.fromarray(image[low[1] : high[1], low[0] : high[0]]), round(self.side / size)
        if factor > 1:
            part = part.reduce(factor)
        to_part = (to_photo - np.c_[np.zeros((2, 2)), low]) / max(factor, 1)
        to_part[:, :2] /= size
        warp, how = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        return np.array(part.transform((size, size), warp, tuple(to_part.ravel().tolist()), how))

    def _extract_upright(self, image: np.ndarray, size: int) -> np.ndarray:
        """The same of a crop that is not turned, before mirroring: only the photo's part of it is resized."""
        pixels, corner = self.side / size, np.array(self.centre) - self.side / 2
        out = np.zeros((size, size, *image.shape[2:]), np.uint8)
        limit = np.array(image.shape[1::-1])
        # The crop's pixels that lie in the photo, and the box of the photo that they show.
        first = np.ceil((-corner / pixels - 1e-6).clip(0, size)).astype(int)
        last = np.floor(((limit - corner) / pixels + 1e-6).clip(0, size)).astype(int)
        if (last <= first).any():
            return out
        low, high = ((edge * pixels + corner).clip(0, limit) for edge in (first, last))
        whole = np.floor(low).astype(int)
        part = image[whole[1] : int(np.ceil(high[1])), whole[0] : int(np.ceil(high[0]))]
        box = (*(low - whole).tolist(), *(high - whole).tolist())
        shape = tuple((last - first).tolist())
        shown = Image.fromarray(part).resize(shape, Image.Resampling.HAMMING, box=box, reducing_gap=1.1)
        out[first[1] : last[1], first[0] : last[0]] = np.asarray(shown)
        return out

    def _from_unit_square(self) -> np.ndarray:
        """(2, 3): places in the crop, from 0 to 1, to photo pixels."""
        matrix = self.matrix
        linear = np.linalg.inv(matrix[:, :2])
        return np.c_[2 * linear, linear @ (-1 - matrix[:, 2])]


def snapped_crop(centre: np.ndarray, side: float, angle: float, *, mirrored: bool = False, grid: int = 1024) -> Crop:
    """The nearest crop of a fine grid: places and sides in 1 / `grid` of the side, angles in as many parts of pi / 4.

    Which crop it is does then not depend on the last digits of what it was laid around, nor does anything read in it.
    """
    exact = Crop((float(centre[0]), float(centre[1])), float(side), float(angle), mirrored)  # or an error that says so
    if not exact.side * grid > 1:
        return exact
    level = 2 ** (round(np.log2(side) * grid) / grid)
    step, turn = 2.0 ** round(np.log2(side)) / grid, np.pi / (4 * grid)
    x, y = (round(float(place) / step) * step for place in centre)
    return Crop((x, y), level, round(angle / turn) * turn, mirrored)


def upright_angle(keypoints: np.ndarray) -> float:
    """Angle [rad] of a crop in which wrist -> knuckles points up. keypoints: (21, 2+) in OpenPose's order."""
    dx, dy = (keypoints[5, :2] + 2 * keypoints[9, :2] + keypoints[13, :2]) / 4 - keypoints[0, :2]
    return float(np.arctan2(dy, dx) + np.pi / 2) if dx or dy else 0.0


def crop_around(keypoints: np.ndarray, *, mirrored: bool, config: CropConfig = CropConfig()) -> Crop:
    """The crop for a hand with these keypoints, (21, 2+) in OpenPose's order [px]; by default the landmark network's
    own.
    """
    upright = config.upright
    angle = upright_angle(keypoints) if upright else 0.0
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    turned = keypoints[list(STEADY) if upright else slice(None), :2] @ turn.T
    low, high = turned.min(0), turned.max(0)
    middle = (low + high) / 2 - (0, config.palm_shift * (high - low)[1] * upright)
    centre = turn.T @ middle
    side = float(max((high - low).max(), 1.0)) * (config.palm_factor if upright else config.box_factor)
    return snapped_crop(centre, side, angle, mirrored=mirrored)


def crop_of_box(box: np.ndarray, *, mirrored: bool, factor: float = 1.2) -> Crop:
    """The axis-aligned square around a box (x1, y1, x2, y2) [px]."""
    x1, y1, x2, y2 = (float(v) for v in box)
    return Crop(((x1 + x2) / 2, (y1 + y2) / 2), max(x2 - x1, y2 - y1) * factor, 0.0, mirrored)


def upright_crop_of_box(box: np.ndarray, angle: float, factor: float, *, mirrored: bool = False) -> Crop:
    """The square around a box (x1, y1, x2, y2) [px] that shows a hand turned by `angle` upright, `factor` times its
    larger side; on a coarse grid, so that engines agree on it.
    """
    middle, side = (box[:2] + box[2:]) / 2, max(float((box[2:] - box[:2]).max()), 1.0)
    return snapped_crop(np.asarray(middle), side * factor, angle, mirrored=mirrored, grid=256)
