"""Rigid and similarity alignment of point sets (Umeyama 1991)."""

from __future__ import annotations

from jaxtyping import Float

from maskhand.geometry.arrays import Array, namespace


def align_similarity(
    points: Float[Array, "*b n 3"], target: Float[Array, "*b n 3"], *, allow_reflection: bool = False
) -> Float[Array, "*b n 3"]:
    """`points` rotated, scaled and shifted to lie nearest to `target` in least squares.

    With `allow_reflection` the orthogonal matrix may be a mirror, as in FreiHAND's official evaluation.
    """
    xp = namespace(points, target)
    centre, centre_t = xp.mean(points, axis=-2, keepdims=True), xp.mean(target, axis=-2, keepdims=True)
    p, t = points - centre, target - centre_t
    u, s, vt = xp.linalg.svd(p.mT @ t, full_matrices=False)
    sign = xp.ones_like(s)
    if not allow_reflection:
        last = xp.where(xp.linalg.det(u @ vt) < 0, -sign[..., -1], sign[..., -1])
        sign = xp.concat([sign[..., :-1], last[..., None]], axis=-1)
    rotation = (u * sign[..., None, :]) @ vt
    scale = xp.sum(s * sign, axis=-1) / xp.clip(xp.sum(p * p, axis=(-1, -2)), 1e-12, None)
    return scale[..., None, None] * (p @ rotation) + centre_t
