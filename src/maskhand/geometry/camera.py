"""Pinhole cameras: x right, y down, z forward; metres in space, pixels in the image."""

from __future__ import annotations

from jaxtyping import Float

from maskhand.geometry.arrays import Array, namespace, normalised, unbind

CROP_FOCAL = 3.0
"""Focal length that the network assumes for every crop, in sides of the crop (HaMeR: 5000 / 256 = 19.5)."""


def translation_from_weak(weak: Float[Array, "*b 3"], focal: float = CROP_FOCAL) -> Float[Array, "*b 3"]:
    """Wrist position [m] from the weak-perspective (s, tx, ty): t = [tx, ty, 2 f / s] (paper Appendix B.2).

    `focal` is in sides of the crop, so the paper's 2 f / (256 s) becomes 2 f / s; s is sides per 2 m, about 10 for a
    hand.
    """
    xp = namespace(weak)
    scale, x, y = unbind(weak)
    return xp.stack([x, y, 2 * focal / xp.clip(scale, 0.1, None)], axis=-1)


def weak_from_translation(translation: Float[Array, "*b 3"], focal: float = CROP_FOCAL) -> Float[Array, "*b 3"]:
    """The inverse of `translation_from_weak`."""
    x, y, z = unbind(translation)
    return namespace(translation).stack([2 * focal / z, x, y], axis=-1)


def project_in_crop(
    points: Float[Array, "*b n 3"], translation: Float[Array, "*b 3"], focal: float = CROP_FOCAL
) -> Float[Array, "*b n 2"]:
    """Points [m] moved by `translation`, projected into [-1, 1] across the crop."""
    moved = points + translation[..., None, :]
    return 2 * focal * moved[..., :2] / namespace(points).clip(moved[..., 2:], 1e-3, None)


def scale_in_crop(points: Float[Array, "*b n 3"], places: Float[Array, "*b n 2"]) -> Float[Array, "*b"]:
    """How much of the crop (from -1 to 1) a metre takes, by points [m] and where they are seen; perspective left
    aside.
    """
    xp = namespace(points, places)
    flat = points[..., :2] - xp.mean(points[..., :2], axis=-2, keepdims=True)
    seen = places - xp.mean(places, axis=-2, keepdims=True)
    return xp.sum(flat * seen, axis=(-1, -2)) / xp.clip(xp.sum(flat * flat, axis=(-1, -2)), 1e-8, None)


def project(
    points: Float[Array, "*b n 3"], focal_px: Float[Array, "*b 1"], principal_px: Float[Array, "*b 2"]
) -> Float[Array, "*b n 2"]:
    """Perspective projection of camera-frame points [m] to pixels."""
    depth = namespace(points).clip(points[..., 2:], 1e-6, None)
    return focal_px[..., None, :] * points[..., :2] / depth + principal_px[..., None, :]


def projection_gradient(points: Float[Array, "*b 3"]) -> Float[Array, "*b 2 3"]:
    """How (x / z, y / z) changes with the point; depths under a centimetre count as one."""
    xp = namespace(points)
    x, y, z = unbind(points)
    z = xp.clip(z, 1e-2, None)
    zero, inverse = xp.zeros_like(z), 1 / z
    across, down = (inverse, zero, -x / z**2), (zero, inverse, -y / z**2)
    return xp.stack([xp.stack(across, axis=-1), xp.stack(down, axis=-1)], axis=-2)


def turn_to_ray(
    centre_px: Float[Array, "*b 2"], focal_px: Float[Array, "*b 1"], principal_px: Float[Array, "*b 2"]
) -> Float[Array, "*b 3 3"]:
    """Smallest rotation that turns the optical axis onto the ray through a pixel.

    A hand seen in a crop away from the image's centre is described as if the camera looked straight at it; this
    takes that description back into the photo's camera frame.
    """
    xp = namespace(centre_px)
    ray = xp.concat([(centre_px - principal_px) / focal_px, xp.ones_like(focal_px)], axis=-1)
    x, y, z = unbind(normalised(ray))
    k = 1 / (1 + z)
    rows = ((1 - k * x * x, -k * x * y, x), (-k * x * y, 1 - k * y * y, y), (-x, -y, z))
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
