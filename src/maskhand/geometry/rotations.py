"""Rotations as 3x3 matrices, 6D vectors and axis-angle vectors, batched and differentiable."""

from __future__ import annotations

from jaxtyping import Float

from maskhand.geometry.arrays import IDENTITY, MIRROR, Array, namespace, normalised, unbind


def matrix_from_6d(six: Float[Array, "*b 6"]) -> Float[Array, "*b 3 3"]:
    """Rotation whose first two columns are the Gram-Schmidt basis of the two 3-vectors (Zhou et al., CVPR 2019)."""
    xp = namespace(six)
    a, b = six[..., :3], six[..., 3:]
    first = normalised(a)
    second = normalised(b - xp.sum(first * b, axis=-1, keepdims=True) * first)
    return xp.stack([first, second, xp.linalg.cross(first, second)], axis=-1)


def six_from_matrix(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 6"]:
    """The first two columns of a rotation, one after the other; the inverse of `matrix_from_6d`."""
    return namespace(matrix).concat([matrix[..., 0], matrix[..., 1]], axis=-1)


def matrix_from_axis_angle(vector: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """Rodrigues' formula; `vector` is axis times angle [rad]. Differentiable at zero."""
    xp = namespace(vector)
    squared = xp.sum(vector * vector, axis=-1)[..., None, None]
    small = squared < 1e-8
    safe = xp.where(small, xp.ones_like(squared), squared)
    angle = xp.sqrt(safe)
    sine = xp.where(small, 1 - squared / 6, xp.sin(angle) / angle)
    cosine = xp.where(small, 0.5 - squared / 24, (1 - xp.cos(angle)) / safe)
    skew = skew_matrix(vector)
    return IDENTITY.on(vector) + sine * skew + cosine * (skew @ skew)


def axis_angle_from_matrix(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3"]:
    """Axis times angle [rad], the angle in [0, pi]; through the unit quaternion, which is exact at every angle."""
    xp = namespace(matrix)
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Four times the outer product of the quaternion with itself: its longest row is the quaternion, scaled.
    squares = xp.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], axis=-1)
    w, x, y, z = unbind(squares)
    rows = ((w, wx, wy, wz), (wx, x, xy, xz), (wy, xy, y, yz), (wz, xz, yz, z))
    longest = xp.argmax(squares, axis=-1)[..., None]
    quaternion = xp.stack(rows[0], axis=-1)
    for k in (1, 2, 3):
        quaternion = xp.where(longest == k, xp.stack(rows[k], axis=-1), quaternion)
    quaternion = normalised(quaternion)
    quaternion = xp.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = xp.linalg.vector_norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2 * xp.atan2(sine, quaternion[..., :1])
    per_sine = xp.where(sine < 1e-7, 2 * xp.ones_like(sine), angle / xp.clip(sine, 1e-12, None))
    return quaternion[..., 1:] * per_sine


def skew_matrix(vector: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """The matrix of the cross product with a vector from the left."""
    xp = namespace(vector)
    x, y, z = unbind(vector)
    zero = xp.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def nearest_rotation(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3 3"]:
    """The rotation nearest to a matrix in least squares; of a mean of rotations: the chordal mean."""
    xp = namespace(matrix)
    u, _, vt = xp.linalg.svd(matrix)
    sign = xp.linalg.det(u @ vt)[..., None]
    one = xp.ones_like(sign)
    return (u * xp.concat([one, one, sign], axis=-1)[..., None, :]) @ vt


def mirror_rotation(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3 3"]:
    """The rotation seen in a mirror that negates x: M R M with M = diag(-1, 1, 1)."""
    flip = MIRROR.on(matrix)
    return matrix * flip[:, None] * flip
