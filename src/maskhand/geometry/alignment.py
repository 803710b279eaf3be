"""Rigid and similarity alignment of point sets (Umeyama 1991)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def align_similarity(
    points: Float[Tensor, "*b n 3"], target: Float[Tensor, "*b n 3"], *, allow_reflection: bool = False
) -> Float[Tensor, "*b n 3"]:
    """`points` rotated, scaled and shifted to lie nearest to `target` in least squares.

    With `allow_reflection` the orthogonal matrix may be a mirror, as in FreiHAND's official evaluation.
    """
    centre, centre_t = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    p, t = points - centre, target - centre_t
    u, s, vt = torch.linalg.svd(p.transpose(-1, -2) @ t)
    sign = torch.ones_like(s)
    if not allow_reflection:
        sign[..., -1] = torch.where(torch.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt
    scale = (s * sign).sum(-1) / (p * p).sum((-1, -2)).clamp(min=1e-12)
    return scale[..., None, None] * (p @ rotation) + centre_t
