"""Errors of joints and vertices, as the field defines them. Torch tensors in metres in, millimetres out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.alignment import align_similarity


def mean_point_error_mm(points: Float[Tensor, "*b n 3"], target: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b"]:
    """Mean distance over the points of each sample (MPJPE of joints, MPVPE of vertices) [mm]."""
    return 1000 * (points - target).norm(dim=-1).mean(-1)


def aligned_point_error_mm(
    points: Float[Tensor, "*b n 3"], target: Float[Tensor, "*b n 3"], *, allow_reflection: bool = False
) -> Float[Tensor, "*b"]:
    """The same after Procrustes alignment with scale (PA-MPJPE, PA-MPVPE) [mm]."""
    return mean_point_error_mm(align_similarity(points, target, allow_reflection=allow_reflection), target)
