"""Errors of joints, vertices and keypoints, as the field defines them: a small library on NumPy or torch arrays,
batched.

Every function takes either kind of array and returns the same kind. Leading axes are samples. Lengths keep the unit
they come in; only the functions whose names end in `_mm` take metres and give millimetres.

Sources: FreiHAND's and HO3D's public evaluation protocols (alignment, F-score, AUC), HaMeR's for PCK on HInt.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from maskhand.errors import InputError
from maskhand.geometry.alignment import align_similarity

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _either(function: _Function) -> _Function:
    """Let a function of tensors take NumPy arrays too, and return them."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        arrays = [a for a in (*args, *kwargs.values()) if isinstance(a, np.ndarray)]
        if not arrays:
            return function(*args, **kwargs)
        result = function(*map(_tensor, args), **{key: _tensor(value) for key, value in kwargs.items()})
        return result.numpy() if isinstance(result, Tensor) else result

    return wrapped  # type: ignore[return-value]


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(np.ascontiguousarray(value, dtype=value.dtype if value.dtype == bool else np.float64))


def _same_points(points: Tensor, target: Tensor) -> None:
    if points.shape[-2:] != target.shape[-2:]:
        raise InputError(
            f"points have shape {tuple(points.shape)}, the target {tuple(target.shape)}; they must be the same points"
        )


@_either
def distances(points: Any, target: Any) -> Any:
    """Distance of each point to its target. (..., n, d) x 2 -> (..., n)"""
    _same_points(points, target)
    return (points - target).norm(dim=-1)


@_either
def mean_error(points: Any, target: Any) -> Any:
    """Mean distance over the points: MPJPE of joints, MPVPE of vertices. (..., n, 3) x 2 -> (...)"""
    _same_points(points, target)
    return (points - target).norm(dim=-1).mean(-1)


@_either
def align_procrustes(points: Any, target: Any, *, allow_reflection: bool = False) -> Any:
    """`points` rotated, scaled and shifted to lie nearest to `target`. (..., n, 3) x 2 -> (..., n, 3)

    allow_reflection: let the orthogonal matrix be a mirror, as FreiHAND's and HO3D's official code does.
    Points that all coincide end up at the target's mean.
    """
    _same_points(points, target)
    return align_similarity(points, target, allow_reflection=allow_reflection)


@_either
def align_root(points: Any, target: Any, *, root: int = 0) -> Any:
    """`points` shifted so that point `root` lies on the target's. (..., n, 3) x 2 -> (..., n, 3)"""
    _same_points(points, target)
    return points - points[..., root : root + 1, :] + target[..., root : root + 1, :]


@_either
def align_scale_translation(points: Any, target: Any, *, root: int = 0, end: int = 9) -> Any:
    """`points` scaled and shifted so that the segment root -> end has the target's length, then the roots meet (HO3D).

    HO3D takes the wrist and the middle MCP: 0 and 4 in its own joint order, 0 and 9 in OpenPose's. (..., n, 3) x 2 ->
    (..., n, 3)
    """
    _same_points(points, target)
    length, length_t = (x[..., end, :].sub(x[..., root, :]).norm(dim=-1)[..., None, None] for x in (points, target))
    scaled = points * (length_t / length.clamp(min=1e-12))
    return scaled - scaled[..., root : root + 1, :] + target[..., root : root + 1, :]


@_either
def f_score(points: Any, target: Any, *, threshold: float) -> Any:
    """Harmonic mean of precision and recall of two point sets at a distance (FreiHAND). (..., n, 3), (..., m, 3) ->
    (...)

    A point counts if its nearest neighbour in the other set is nearer than `threshold`; 0 where none does.
    """
    between = torch.cdist(points, target, compute_mode="donot_use_mm_for_euclid_dist")
    precision = (between.min(-1).values < threshold).to(between.dtype).mean(-1)
    recall = (between.min(-2).values < threshold).to(between.dtype).mean(-1)
    return torch.where(precision + recall > 0, 2 * precision * recall / (precision + recall).clamp(min=1e-12), 0.0)


@_either
def curve_area(errors: Any, *, maximum: float, steps: int = 100) -> Any:
    """Area under the curve of points within a threshold from 0 to `maximum`, as a share (AUC). (..., n) -> (...)

    `steps` thresholds with both ends, trapezoids (FreiHAND: 100 steps to 50 mm). It is linear: the mean of these over
    samples is the AUC of all samples.
    """
    thresholds = torch.linspace(0, maximum, steps, dtype=errors.dtype, device=errors.device)
    within = (errors[..., None] <= thresholds).to(errors.dtype)
    return torch.trapezoid(within, thresholds, dim=-1).mean(-1) / maximum


@_either
def keypoint_hits(points: Any, target: Any, size: Any, *, threshold: float) -> Any:
    """Whether each 2D keypoint lies within `threshold` sizes of its target (PCK). (N, n, 2) x 2, (N,) -> (N, n) bool"""
    _same_points(points, target)
    return (points - target).norm(dim=-1) <= threshold * size[..., None]


@_either
def pck(hits: Any, counted: Any, weights: Any = None) -> Any:
    """Share of hits among the counted ones, per joint, then the mean over joints that were counted at all. (N, n) x 2
    -> ()

    weights: (N,) how often each sample counts (for the bootstrap). NaN if nothing was counted.
    """
    share = counted.double() if weights is None else counted.double() * weights[:, None].double()
    total = share.sum(0)
    per_joint = (hits.double() * share).sum(0) / total.clamp(min=1e-12)
    return per_joint[total > 0].mean()


def mean_point_error_mm(points: Tensor, target: Tensor) -> Tensor:
    """`mean_error` of metres in millimetres."""
    return 1000 * mean_error(points, target)


def aligned_point_error_mm(points: Tensor, target: Tensor, *, allow_reflection: bool = False) -> Tensor:
    """`mean_error` after Procrustes alignment with scale (PA-MPJPE, PA-MPVPE), of metres in millimetres."""
    return mean_point_error_mm(align_procrustes(points, target, allow_reflection=allow_reflection), target)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], count: int, *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic under resampling of the samples (Efron 1979).

    statistic: of (count,) whole-number weights, how often each sample was drawn.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.multinomial(count, np.full(count, 1 / count))) for _ in range(draws)]
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
