"""Where a hand of known shape lies before the photo's camera, by its 2D keypoints. This project's addition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from maskhand.errors import ConfigError
from maskhand.geometry.arrays import IDENTITY, Array, like, namespace
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
    points: Float[Array, "n 3"],
    pixels: Float[Array, "n 2"],
    weights: Float[Array, " n"],
    focal_px: Float[Array, "1"],
    principal_px: Float[Array, "2"],
    *,
    pixel_sigma: float,
    config: ViewFitConfig = ViewFitConfig(),
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """The small turn and the translation that put points nearest to pixels, by Gauss-Newton.

    A prior holds the turn near none and the depth near what the extent of the pixels says, so that a hand seen edge-on
    is neither flipped nor moved far away to please noisy keypoints.

    Args:
        points: camera-frame points [m] about any origin.
        weights: trust in each pixel, 0 to 1.
        pixel_sigma: expected error of a trusted pixel [px].
        config: what the prior expects.

    """
    xp = namespace(points)
    turn = IDENTITY.on(points)
    start = translation = spread_translation(points, pixels, weights, focal_px, principal_px)
    depth_sigma = config.depth_sigma * float(start[2] + xp.mean(points[:, 2]))
    precision = like([config.turn_sigma**-2] * 3 + [1e-6, 1e-6, depth_sigma**-2], points)
    trust = (weights / pixel_sigma)[:, None]
    total = xp.zeros_like(start)
    for _ in range(config.rounds):
        turned = points @ turn.T
        moved = turned + translation
        residual = xp.reshape((project(moved, focal_px, principal_px) - pixels) * trust, (-1,))
        by_point = focal_px * projection_gradient(moved)  # (n, 2, 3)
        jacobian = xp.concat([-by_point @ skew_matrix(turned), by_point], axis=-1) * trust[..., None]
        jacobian = xp.reshape(jacobian, (-1, 6))
        pull = precision * xp.concat([total, translation - start], axis=0)
        curvature = jacobian.T @ jacobian + precision * like(np.eye(6), points)
        step = xp.linalg.solve(curvature, jacobian.T @ residual + pull)
        turn = matrix_from_axis_angle(-step[:3]) @ turn
        total = total - step[:3]
        translation = translation - step[3:]
    return turn, translation


def spread_translation(
    points: Float[Array, "n 3"],
    pixels: Float[Array, "n 2"],
    weights: Float[Array, " n"],
    focal_px: Float[Array, "1"],
    principal_px: Float[Array, "2"],
) -> Float[Array, "3"]:
    """The translation [m] that gives points the pixels' centre and extent: rough, but always before the camera."""
    xp = namespace(points)
    share = (weights / xp.sum(weights))[:, None]
    plane = (pixels - principal_px) / focal_px  # on the plane z = 1
    middle, centre = xp.sum(share * plane, axis=0), xp.sum(share * points, axis=0)
    wide = xp.sqrt(xp.sum(share * (points[:, :2] - centre[:2]) ** 2))
    seen = xp.sqrt(xp.sum(share * (plane - middle) ** 2))
    depth = xp.clip(wide, 1e-3, None) / xp.clip(seen, 1e-4, None)
    return depth * xp.concat([middle, xp.ones_like(middle[:1])], axis=0) - centre
