"""Rotations as 3x3 matrices, 6D vectors and axis-angle vectors, batched and differentiable."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def matrix_from_6d(six: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation whose first two columns are the Gram-Schmidt basis of the two 3-vectors (Zhou et al., CVPR 2019)."""
    a, b = six[..., :3], six[..., 3:]
    first = torch.nn.functional.normalize(a, dim=-1)
    second = torch.nn.functional.normalize(b - (first * b).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def six_from_matrix(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 6"]:
    """The first two columns of a rotation, one after the other; the inverse of `matrix_from_6d`."""
    return torch.cat([matrix[..., 0], matrix[..., 1]], dim=-1)


def matrix_from_axis_angle(vector: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rodrigues' formula; `vector` is axis times angle [rad]. Differentiable at zero."""
    squared = (vector * vector).sum(-1)[..., None, None]
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    skew = skew_matrix(vector)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + sine * skew + cosine * (skew @ skew)


def axis_angle_from_matrix(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3"]:
    """Axis times angle [rad], the angle in [0, pi]; through the unit quaternion, which is exact at every angle."""
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Four times the outer product of the quaternion with itself: its longest row is the quaternion, scaled.
    rows = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            torch.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            torch.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            torch.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        dim=-2,
    )
    longest = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    quaternion = torch.nn.functional.normalize(torch.take_along_dim(rows, longest, dim=-2)[..., 0, :], dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = quaternion[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    small = sine < 1e-7
    return quaternion[..., 1:] * torch.where(small, torch.full_like(sine, 2.0), angle / sine.clamp(min=1e-12))


def skew_matrix(vector: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, dim=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.stack(rows, dim=-2)


def nearest_rotation(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The rotation nearest to a matrix in least squares; of a mean of rotations: the chordal mean."""
    u, _, vt = torch.linalg.svd(matrix)
    sign = torch.ones_like(matrix[..., 0])
    sign[..., 2] = torch.linalg.det(u @ vt)
    return (u * sign[..., None, :]) @ vt


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


def mirror_rotation(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The rotation seen in a mirror that negates x: M R M with M = diag(-1, 1, 1)."""
    flip = matrix.new_tensor([-1.0, 1.0, 1.0])
    return matrix * flip[:, None] * flip
