"""Pinhole cameras: x right, y down, z forward; metres in space, pixels in the image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.rotations import matrix_from_axis_angle, skew_matrix

CROP_FOCAL = 3.0
"""Focal length that the network assumes for every crop, in sides of the crop [ours; HaMeR: 5000/256 = 19.5]."""


def translation_from_weak(weak: Float[Tensor, "*b 3"], focal: float = CROP_FOCAL) -> Float[Tensor, "*b 3"]:
    """Wrist position [m] from the weak-perspective (s, tx, ty): t = [tx, ty, 2 f / s] (paper Appendix B.2).

    `focal` is in sides of the crop, so the paper's 2 f / (256 s) becomes 2 f / s; s is sides per 2 m, about 10 for a hand.
    """
    scale, x, y = weak.unbind(-1)
    return torch.stack([x, y, 2 * focal / scale.clamp(min=0.1)], dim=-1)


def weak_from_translation(translation: Float[Tensor, "*b 3"], focal: float = CROP_FOCAL) -> Float[Tensor, "*b 3"]:
    """The inverse of `translation_from_weak`."""
    x, y, z = translation.unbind(-1)
    return torch.stack([2 * focal / z, x, y], dim=-1)


def project_in_crop(
    points: Float[Tensor, "*b n 3"], translation: Float[Tensor, "*b 3"], focal: float = CROP_FOCAL
) -> Float[Tensor, "*b n 2"]:
    """Points [m] moved by `translation`, projected into [-1, 1] across the crop."""
    moved = points + translation[..., None, :]
    return 2 * focal * moved[..., :2] / moved[..., 2:].clamp(min=1e-3)


def scale_in_crop(points: Float[Tensor, "*b n 3"], places: Float[Tensor, "*b n 2"]) -> Float[Tensor, "*b"]:
    """How much of the crop (from -1 to 1) a metre takes, by points [m] and where they are seen; perspective left aside."""
    flat = points[..., :2] - points[..., :2].mean(-2, keepdim=True)
    seen = places - places.mean(-2, keepdim=True)
    return (flat * seen).sum((-1, -2)) / flat.square().sum((-1, -2)).clamp(min=1e-8)


def project(
    points: Float[Tensor, "*b n 3"], focal_px: Float[Tensor, "*b 1"], principal_px: Float[Tensor, "*b 2"]
) -> Float[Tensor, "*b n 2"]:
    """Perspective projection of camera-frame points [m] to pixels."""
    return focal_px[..., None, :] * points[..., :2] / points[..., 2:].clamp(min=1e-6) + principal_px[..., None, :]


def projection_gradient(points: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 2 3"]:
    """How (x / z, y / z) changes with the point; depths under a centimetre count as one."""
    x, y, z = points.unbind(-1)
    z = z.clamp(min=1e-2)
    zero = torch.zeros_like(z)
    return torch.stack([torch.stack([1 / z, zero, -x / z**2], -1), torch.stack([zero, 1 / z, -y / z**2], -1)], -2)


def spread_translation(
    points: Float[Tensor, "n 3"],
    pixels: Float[Tensor, "n 2"],
    weights: Float[Tensor, " n"],
    focal_px: Float[Tensor, "1"],
    principal_px: Float[Tensor, "2"],
) -> Float[Tensor, "3"]:
    """The translation [m] that gives points the pixels' middle and spread: rough, but always before the camera."""
    share = (weights / weights.sum())[:, None]
    plane = (pixels - principal_px) / focal_px  # on the plane z = 1
    middle, centre = (share * plane).sum(0), (share * points).sum(0)
    wide = (share * (points[:, :2] - centre[:2]).square()).sum().sqrt()
    seen = (share * (plane - middle).square()).sum().sqrt()
    depth = wide.clamp(min=1e-3) / seen.clamp(min=1e-4)
    return depth * torch.cat([middle, torch.ones_like(depth)[None]]) - centre


def turn_to_ray(
    centre_px: Float[Tensor, "*b 2"], focal_px: Float[Tensor, "*b 1"], principal_px: Float[Tensor, "*b 2"]
) -> Float[Tensor, "*b 3 3"]:
    """Smallest rotation that turns the optical axis onto the ray through a pixel.

    A hand seen in a crop away from the image's centre is described as if the camera looked straight at it; this takes that
    description back into the photo's camera frame.
    """
    ray = torch.cat([(centre_px - principal_px) / focal_px, torch.ones_like(focal_px)], dim=-1)
    ray = torch.nn.functional.normalize(ray, dim=-1)
    x, y, z = ray.unbind(-1)
    k = 1 / (1 + z)
    rows = [
        torch.stack([1 - k * x * x, -k * x * y, x], -1),
        torch.stack([-k * x * y, 1 - k * y * y, y], -1),
        torch.stack([-x, -y, z], -1),
    ]
    return torch.stack(rows, -2)


def fit_view(
    points: Float[Tensor, "n 3"],
    pixels: Float[Tensor, "n 2"],
    weights: Float[Tensor, " n"],
    focal_px: Float[Tensor, "1"],
    principal_px: Float[Tensor, "2"],
    *,
    pixel_sigma: float,
    turn_sigma: float = 0.25,
    depth_sigma: float = 0.15,
    rounds: int = 6,
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """The small turn and the translation that put points nearest to pixels, by Gauss-Newton.

    The turn is held near none and the depth near what the spread of the pixels says by a prior, so that a hand seen edge-on is
    neither flipped nor flung away to please noisy keypoints [ours].

    Args:
        points: camera-frame points [m] about any origin.
        weights: trust in each pixel, 0 to 1.
        pixel_sigma: how far off a trusted pixel is expected to be [px].
        turn_sigma: how far off the points' own orientation is expected to be [rad].
        depth_sigma: how far off the depth of the pixels' spread is expected to be, as a share of it.
        rounds: Gauss-Newton steps.

    """
    turn = torch.eye(3, dtype=points.dtype)
    start = translation = spread_translation(points, pixels, weights, focal_px, principal_px)
    depth_sigma = depth_sigma * float(start[2] + points[:, 2].mean())
    precision = points.new_tensor([turn_sigma**-2] * 3 + [1e-6, 1e-6, depth_sigma**-2])
    trust = (weights / pixel_sigma).repeat_interleave(2)
    total = torch.zeros(3, dtype=points.dtype)
    for _ in range(rounds):
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
