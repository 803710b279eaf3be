"""Two systems on the same benchmark, sample by sample: who is better by how much, and the worst samples as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskhand.data.sample import Sample, projected
from maskhand.evaluation import metrics
from maskhand.evaluation.benchmark import Figure, Truth, per_sample_errors
from maskhand.evaluation.predictions import Predictions
from maskhand.evaluation.protocols import Protocol
from maskhand.rendering.contact_sheet import contact_sheet, draw_bones, window
from maskhand.rendering.pictures import written

TILE_PX = 256
_COLOURS = {"truth": (255, 255, 255), "first": (255, 120, 60), "second": (70, 170, 255)}


@dataclass(frozen=True)
class Comparison:
    """The first system's error minus the second's; negative: the first is better."""

    measure: str
    difference: Figure
    first_better: float
    """Share of the samples on which the first is better."""
    order: np.ndarray
    """Samples, those first where the first system is worst against the second."""
    per_sample: np.ndarray
    """(N,) differences."""


def compare(
    protocol: Protocol, truth: Truth, first: Predictions, second: Predictions, *, draws: int = 1000
) -> Comparison:
    """Paired difference of the benchmark's main measure (PA-MPJPE, or the mean 2D error), its interval from resampled
    samples.
    """
    measure = "2D error" if protocol.kind == "2d" else "PA-MPJPE"
    errors = [per_sample_errors(protocol, truth, found)[measure] for found in (first, second)]
    off = errors[0] - errors[1]
    low, high = metrics.bootstrap_interval(lambda w: float(w @ off / len(off)), len(off), draws=draws)
    return Comparison(measure, Figure(float(off.mean()), low, high), float((off < 0).mean()), np.argsort(-off), off)


def sheet(
    protocol: Protocol,
    truth: Truth,
    first: Predictions,
    second: Predictions,
    chosen: np.ndarray,
    path: str | Path,
    columns: int = 4,
) -> Path:
    """A picture of samples with truth (white) and both systems' skeletons (orange: first, blue: second), aligned in 3D
    first.
    """
    tiles = [_tile(protocol, truth, first, second, int(k)) for k in chosen]
    return contact_sheet(tiles, path, columns)


def _tile(protocol: Protocol, truth: Truth, first: Predictions, second: Predictions, k: int) -> np.ndarray:
    sample = truth.samples[k]
    flat = {"truth": _flat(protocol, sample, truth.joints[k], truth.joints[k])}
    for name, found in (("first", first), ("second", second)):
        flat[name] = _flat(protocol, sample, found.joints[k], truth.joints[k])
    known = np.ones(21, bool) if truth.counted is None else truth.counted[k]
    shown = flat["truth"][known] if known.any() else flat["truth"]
    image, into = window(sample.pixels(), np.concatenate([shown.min(0), shown.max(0)]), 1.6, TILE_PX)
    for name, points in flat.items():
        image = draw_bones(image, into(points), known, [_COLOURS[name]] * 20, 2)
    return written(image, sample.name[-28:], (4, TILE_PX - 16), (255, 255, 255), 11)


def _flat(protocol: Protocol, sample: Sample, points: np.ndarray, target: np.ndarray) -> np.ndarray:
    if protocol.kind == "2d" or sample.intrinsic is None:
        return points[:, :2]
    return projected(metrics.align_procrustes(points, target), sample.intrinsic)
