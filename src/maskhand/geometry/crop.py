"""The square that the network sees: where it lies, how pixels get in and points get out. Only here hands are
mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maskhand.errors import ConfigError, InputError

STEADY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
"""Keypoints that stay where they are when fingers bend (MediaPipe)."""
OPENCV_PX = 32_000
"""Wider images are cut before OpenCV warps them: it counts pixels in 16 bits."""


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
        """The crop's pixels, (size, size, C) of the image's type; black outside the photo.

        Shrinking averages: a crop larger than 1.5 times `size` is taken from a photo reduced first.
        """
        shrink = self.side / size
        matrix = self.matrix
        if shrink > 1.5 or max(image.shape[:2]) > OPENCV_PX:
            image, matrix = self._reduced(image, max(shrink, 1.0), matrix)
        to_pixels = np.array([[size / 2, 0, size / 2 - 0.5], [0, size / 2, size / 2 - 0.5], [0, 0, 1.0]])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # OpenCV counts from pixel centres
        full = to_pixels @ np.vstack([matrix, [0, 0, 1]]) @ half
        return cv2.warpAffine(image, full[:2], (size, size), flags=cv2.INTER_LINEAR)

    def _reduced(self, image: np.ndarray, shrink: float, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of the photo under the crop, averaged down by about `shrink`, and the matrix that goes with it."""
        corners = self.to_photo(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float))
        height, width = image.shape[:2]
        low = np.floor(corners.min(0)).astype(int).clip(0, (width - 1, height - 1))
        high = np.ceil(corners.max(0)).astype(int).clip(low + 1, (width, height))
        part = image[low[1] : high[1], low[0] : high[0]]
        new = np.maximum(1, np.round((high - low) / shrink)).astype(int)
        scale = (high - low) / new
        part = cv2.resize(part, (int(new[0]), int(new[1])), interpolation=cv2.INTER_AREA)
        offset = matrix[:, 2] + matrix[:, :2] @ low
        return part, np.concatenate([matrix[:, :2] * scale, offset[:, None]], axis=1)


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
    return Crop((float(centre[0]), float(centre[1])), side, angle, mirrored)


def crop_of_box(box: np.ndarray, *, mirrored: bool, factor: float = 1.2) -> Crop:
    """The axis-aligned square around a box (x1, y1, x2, y2) [px]."""
    x1, y1, x2, y2 = (float(v) for v in box)
    return Crop(((x1 + x2) / 2, (y1 + y2) / 2), max(x2 - x1, y2 - y1) * factor, 0.0, mirrored)
