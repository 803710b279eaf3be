"""Pinhole cameras: x right, y down, z forward; metres in space, pixels in the image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CROP_FOCAL = 3.0
"""Focal length that the network assumes for every crop, in sides of the crop (HaMeR: 5000 / 256 = 19.5)."""


def translation_from_weak(weak: Float[Tensor, "*b 3"], focal: float = CROP_FOCAL) -> Float[Tensor, "*b 3"]:
    """Wrist position [m] from the weak-perspective (s, tx, ty): t = [tx, ty, 2 f / s] (paper Appendix B.2).

    `focal` is in sides of the crop, so the paper's 2 f / (256 s) becomes 2 f / s; s is sides per 2 m, about 10 for a
    hand.
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
    """How much of the crop (from -1 to 1) a metre takes, by points [m] and where they are seen; perspective left
    aside.
    """
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


def turn_to_ray(
    centre_px: Float[Tensor, "*b 2"], focal_px: Float[Tensor, "*b 1"], principal_px: Float[Tensor, "*b 2"]
) -> Float[Tensor, "*b 3 3"]:
    """Smallest rotation that turns the optical axis onto the ray through a pixel.

    A hand seen in a crop away from the image's centre is described as if the camera looked straight at it; this
    takes that description back into the photo's camera frame.
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
