"""From where synthetic hands are seen: global rotations and cameras."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.crop import CropConfig

# Palm towards the camera, fingers up: columns are where the rest hand's axes point (camera: x right, y down, z
# forward).
PALM_VIEW = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float)


def draw_view(rng: np.random.Generator) -> np.ndarray:
    """A global rotation: mostly how people show hands, sometimes anything. The crop will turn it upright.

    Views straight along the forearm from behind, where the arm hides the hand, are drawn again.
    """
    while True:
        view = _draw_any_view(rng)
        if view[2, 0] > -0.65:  # where the rest hand's +x, the forearm, points
            return view


def _draw_any_view(rng: np.random.Generator) -> np.ndarray:
    kind = rng.random()
    if kind < 0.30:
        return random_rotations(1, torch.Generator().manual_seed(int(rng.integers(2**62))))[0].numpy().astype(float)
    yaw, pitch, spread = 0.0, 0.0, 0.6
    if kind < 0.52:  # palm
        pass
    elif kind < 0.72:  # back
        yaw = np.pi
    elif kind < 0.84:  # from either side
        yaw, spread = np.pi / 2 * rng.choice([-1, 1]), 0.45
    elif kind < 0.93:  # one's own hand from above the wrist
        yaw, pitch, spread = np.pi, -np.pi / 3, 0.45
    else:  # pointing at the camera
        pitch, spread = rng.choice([-1, 1]) * np.pi / 3, 0.4
        yaw = rng.choice([0, np.pi])
    tilt = rotation_about(pitch + rng.normal(0, spread), 0) @ rotation_about(yaw + rng.normal(0, spread), 1)
    return tilt @ PALM_VIEW


def random_rotations(count: int, generator: torch.Generator | None = None) -> Float[Tensor, "count 3 3"]:
    """Uniform over SO(3): normalised Gaussian quaternions (Shoemake 1992)."""
    q = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1)
    w, x, y, z = q.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def rotation_about(angle: float, axis: int) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def draw_camera(keypoints: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Focal length (image plane units) and distance [m]: from wide-angle close-ups to telephoto."""
    crop_focal = float(np.exp(rng.uniform(np.log(1.3), np.log(9.0))))  # in sides of the crop
    extent = np.ptp(keypoints[:, :2], axis=0).max() * CropConfig().box_factor
    return 1.0, float(max(crop_focal * max(extent, 0.12), 0.2 + np.ptp(keypoints[:, 2])))
