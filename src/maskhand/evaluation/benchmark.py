"""Running a benchmark: truth from a data set, predictions from a model or a file, figures with confidence intervals, a
report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskhand.data.datasets import dataset
from maskhand.data.sample import Sample
from maskhand.errors import InputError
from maskhand.evaluation import metrics
from maskhand.evaluation.predictions import MANO_VERTICES, Predictions
from maskhand.evaluation.protocols import PROTOCOLS, Protocol

PCK_THRESHOLDS = {".05": 0.05, ".1": 0.10, ".15": 0.15}
UNKNOWN = "unknown"
AUC_MAXIMUM = 0.05
"""[m]"""
BATCH = 64


@dataclass(frozen=True)
class Truth:
    """What a benchmark measures against; our axes, OpenPose's order."""

    samples: list[Sample]
    joints: np.ndarray
    """(N, 21, 3) [m], or (N, 21, 2) [px]."""
    vertices: np.ndarray | None = None
    counted: np.ndarray | None = None
    """(N, 21) annotated keypoints (2D)."""
    visible: np.ndarray | None = None
    """(N, 21) (2D)."""
    size: np.ndarray | None = None
    """(N,) larger side of the annotated box [px] (2D)."""

    @property
    def names(self) -> list[str]:
        return [sample.name for sample in self.samples]

    def first(self, count: int | None) -> Truth:
        """The first so many samples; all of them for None."""
        cut: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        kept: dict[str, Any] = {key: value if value is None else value[:count] for key, value in cut.items()}
        return Truth(**kept)


@dataclass(frozen=True)
class Figure:
    """A measured number with its 95 % interval under resampling of the samples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """Everything a report says."""

    protocol: Protocol
    split: str
    system: str
    hand_model: str
    count: int
    figures: dict[str, Figure]
    per_sample: dict[str, np.ndarray] = field(repr=False)
    notes: list[str] = field(default_factory=list)
    mask_share: float = 0.0


def protocol_of(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise InputError(f"no benchmark named {name!r}; one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def read_truth(protocol: Protocol, root: str | Path, split: str, *, limit: int | None = None) -> Truth:
    """The benchmark's labels from the original files, every sample checked.

    Raises:
        InputError: a file is missing or a label damaged; names file and sample.

    """
    if split not in protocol.splits:
        raise InputError(f"{protocol.title} has no split {split!r}; one of {', '.join(protocol.splits)}")
    samples = []
    for sample in dataset(protocol.dataset).checked(root, split):
        samples.append(sample)
        if limit is not None and len(samples) == limit:
            break
    if not samples:
        raise InputError(f"{root} holds no sample of {protocol.title}'s {split}")
    if protocol.kind == "2d":
        flat = np.stack([s.keypoints_2d for s in samples])  # type: ignore[misc]
        boxes = np.stack([s.hand_box for s in samples])
        return Truth(
            samples,
            flat[..., :2],
            counted=flat[..., 2] > 0.5,
            visible=np.stack([s.visible for s in samples]),  # type: ignore[misc]
            size=(boxes[:, 2:] - boxes[:, :2]).max(1),
        )
    joints = np.stack([s.keypoints_3d[:, :3] for s in samples])  # type: ignore[index]
    has_vertices = all(s.vertices is not None and len(s.vertices) == MANO_VERTICES for s in samples)
    return Truth(samples, joints, np.stack([s.vertices for s in samples]) if has_vertices else None)  # type: ignore[misc]


def measure(protocol: Protocol, truth: Truth, found: Predictions, *, draws: int = 1000) -> dict[str, Figure]:
    """Every figure of the protocol, with intervals."""
    return (
        _flat_figures(truth, found, draws) if protocol.kind == "2d" else _solid_figures(protocol, truth, found, draws)
    )


def per_sample_errors(protocol: Protocol, truth: Truth, found: Predictions) -> dict[str, np.ndarray]:
    """(N,) values of each measure: millimetres and shares, or the mean 2D error in sizes of the hand."""
    if protocol.kind == "2d":
        distance = metrics.distances(found.joints, truth.joints) / truth.size[:, None]  # type: ignore[index]
        counted = truth.counted.astype(float)  # type: ignore[union-attr]
        return {"2D error": (distance * counted).sum(1) / counted.sum(1).clip(1)}
    columns: dict[str, list[np.ndarray]] = {}
    for first in range(0, len(truth.joints), BATCH):
        part = slice(first, first + BATCH)
        joints = found.joints[part], truth.joints[part]
        values = _point_errors("J", *joints, joints, protocol)
        values["ST-MPJPE"] = 1000 * metrics.mean_error(metrics.align_scale_translation(*joints), joints[1])
        if found.vertices is not None and truth.vertices is not None:
            vertices = found.vertices[part], truth.vertices[part]
            values |= _point_errors("V", *vertices, joints, protocol)
            aligned = torch.from_numpy(metrics.align_procrustes(*vertices, allow_reflection=protocol.reflection))
            for millimetres in (5, 15):
                values[f"F@{millimetres}"] = metrics.f_score(
                    aligned, torch.from_numpy(vertices[1]), threshold=millimetres / 1000
                ).numpy()
        for key, value in values.items():
            columns.setdefault(key, []).append(value)
    return {key: np.concatenate(parts) for key, parts in columns.items()}


def _point_errors(
    kind: str, points: np.ndarray, target: np.ndarray, joints: tuple[np.ndarray, np.ndarray], protocol: Protocol
) -> dict[str, np.ndarray]:
    """MPxPE about the wrist, without any alignment, and after Procrustes; AUC of the last."""
    aligned = metrics.align_procrustes(points, target, allow_reflection=protocol.reflection)
    about_wrist = points - joints[0][:, :1] + joints[1][:, :1]
    return {
        f"PA-MP{kind}PE": 1000 * metrics.mean_error(aligned, target),
        f"MP{kind}PE": 1000 * metrics.mean_error(about_wrist, target),
        f"camera MP{kind}PE": 1000 * metrics.mean_error(points, target),
        f"AUC_{kind}": metrics.curve_area(metrics.distances(aligned, target), maximum=AUC_MAXIMUM),
    }


def _solid_figures(protocol: Protocol, truth: Truth, found: Predictions, draws: int) -> dict[str, Figure]:
    values = per_sample_errors(protocol, truth, found)
    return {key: _mean_figure(column, draws) for key, column in values.items()}


def _mean_figure(values: np.ndarray, draws: int) -> Figure:
    interval = metrics.bootstrap_interval(
        lambda weights: float(weights @ values / len(values)), len(values), draws=draws
    )
    return Figure(float(values.mean()), *interval)


def _flat_figures(truth: Truth, found: Predictions, draws: int) -> dict[str, Figure]:
    if truth.counted is None or truth.visible is None or truth.size is None:
        raise InputError("a 2D benchmark needs annotated, visible and size")
    groups = {
        "all": truth.counted,
        "visible": truth.counted & truth.visible,
        "occluded": truth.counted & ~truth.visible,
    }
    figures = {}
    for group, counted in groups.items():
        if not counted.any():
            continue
        for label, threshold in PCK_THRESHOLDS.items():
            hits = metrics.keypoint_hits(found.joints, truth.joints, truth.size, threshold=threshold)
            share = _share_of(hits, counted)
            interval = metrics.bootstrap_interval(share, len(hits), draws=draws)
            figures[f"PCK@{label} {group}"] = Figure(share(np.ones(len(hits))), *interval)
    return figures


def _share_of(hits: np.ndarray, counted: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda weights: 100 * float(metrics.pck(hits, counted, weights))


def evaluate(
    protocol: Protocol,
    truth: Truth,
    found: Predictions,
    *,
    split: str,
    system: str,
    hand_model: str,
    notes: Sequence[str] = (),
    mask_share: float = 0.0,
    draws: int = 1000,
) -> Report:
    """Measure and gather what the report says."""
    said = list(notes)
    if protocol.count and split == protocol.splits[0] and len(truth.samples) != protocol.count:
        said.append(f"{len(truth.samples)} samples were measured; the benchmark has {protocol.count}")
    if protocol.kind == "3d" and found.vertices is None:
        said.append("no MPVPE, F-score or AUC_V: the predictions hold no MANO vertices")
    elif protocol.kind == "3d" and truth.vertices is None:
        said.append("no MPVPE, F-score or AUC_V: the data set's files hold no MANO vertices")
    return Report(
        protocol,
        split,
        system,
        hand_model,
        len(truth.samples),
        measure(protocol, truth, found, draws=draws),
        per_sample_errors(protocol, truth, found),
        said,
        mask_share,
    )
