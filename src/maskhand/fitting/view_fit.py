"""Where a hand of known shape lies before the photo's camera, by its 2D keypoints. This project's addition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.errors import ConfigError
from maskhand.geometry.camera import project, projection_gradient
from maskhand.geometry.rotations import matrix_from_axis_angle, skew_matrix


@dataclass(frozen=True, kw_only=True)
class ViewFitConfig:
    """What the fit of a hand's place in the photo expects."""

    measured_share: float = 0.75
    """How much the target follows the measured keypoints; the rest is the network's own projection."""
    keypoint_sigma: float = 0.02
    """Expected error of a trusted keypoint, in sides of the crop."""
    least_trust: float = 0.3
    """Trust in a keypoint that nobody measured, or of low confidence, from 0 to 1."""
    turn_sigma: float = 0.25
    """Expected error of the hand's orientation [rad]."""
    depth_sigma: float = 0.15
    """Expected error of the depth that the extent of the keypoints gives, as a share of it."""
    rounds: int = 6
    """Gauss-Newton steps."""

    def __post_init__(self) -> None:
        for name in ("keypoint_sigma", "turn_sigma", "depth_sigma", "rounds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"view_fit.{name} is {getattr(self, name)}; it must be above 0")


def fit_view(
    points: Float[Tensor, "n 3"],
    pixels: Float[Tensor, "n 2"],
    weights: Float[Tensor, " n"],
    focal_px: Float[Tensor, "1"],
    principal_px: Float[Tensor, "2"],
    *,
    pixel_sigma: float,
    config: ViewFitConfig = ViewFitConfig(),
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """The small turn and the translation that put points nearest to pixels, by Gauss-Newton.

    A prior holds the turn near none and the depth near what the extent of the pixels says, so that a hand seen edge-on
    is neither flipped nor moved far away to please noisy keypoints.

    Args:
        points: camera-frame points [m] about any origin.
        weights: trust in each pixel, 0 to 1.
        pixel_sigma: expected error of a trusted pixel [px].
        config: what the prior expects.

    """
    turn = torch.eye(3, dtype=points.dtype)
    start = translation = spread_translation(points, pixels, weights, focal_px, principal_px)
    depth_sigma = config.depth_sigma * float(start[2] + points[:, 2].mean())
    precision = points.new_tensor([config.turn_sigma**-2] * 3 + [1e-6, 1e-6, depth_sigma**-2])
    trust = (weights / pixel_sigma).repeat_interleave(2)
    total = torch.zeros(3, dtype=points.dtype)
    for _ in range(config.rounds):
        turned = points @ turn.T
        moved = turned + translation
        residual = (project(moved, focal_px, principal_px) - pixels).flatten() * trust
        by_point = focal_px * projection_gradient(moved)  # (n, 2, 3)
        jacobian = torch.cat([-by_point @ skew_matrix(turned), by_point], dim=-1).flatten(0, 1) * trust[:, None]
        pull = precision * torch.cat([total, translation - start])
        step = torch.linalg.solve(jacobian.T @ jacobian + precision.diag(), jacobian.T @ residual + pull)
        turn = matrix_from_axis_angle(-step[:3]) @ turn
        total = total - step[:3]
        translation = translation - step[3:]
    return turn, translation


def spread_translation(
    points: Float[Tensor, "n 3"],
    pixels: Float[Tensor, "n 2"],
    weights: Float[Tensor, " n"],
    focal_px: Float[Tensor, "1"],
    principal_px: Float[Tensor, "2"],
) -> Float[Tensor, "3"]:
    """The translation [m] that gives points the pixels' centre and extent: rough, but always before the camera."""
    share = (weights / weights.sum())[:, None]
    plane = (pixels - principal_px) / focal_px  # on the plane z = 1
    middle, centre = (share * plane).sum(0), (share * points).sum(0)
    wide = (share * (points[:, :2] - centre[:2]).square()).sum().sqrt()
    seen = (share * (plane - middle).square()).sum().sqrt()
    depth = wide.clamp(min=1e-3) / seen.clamp(min=1e-4)
    return depth * torch.cat([middle, torch.ones_like(depth)[None]]) - centre
