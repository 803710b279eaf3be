"""What each heuristic on the way from photo to hands is worth: every one of them switched off in turn.

Judged on data that chose none of them: synthetic images of a seed of their own, and the photos that train, whose
reference is the landmark network's mean over six jittered crops of the full predictor's hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from maskhand.assets import load
from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import complete_shards
from maskhand.data.photos import SourcePhoto, development_photos, mean_landmarks
from maskhand.evaluation.real_photos import flat_landmarks, percent_distance
from maskhand.evaluation.reconstruction import reconstructed
from maskhand.predictor import Predictor

HEURISTICS_SEED = 515_151
"""Of the synthetic images; no training run and no other measure uses it."""
GROSS_PERCENT = 12.0
"""Mean distance to the reference, in per cent of the hand, above which a hand is drawn elsewhere."""
NEVER = "1e6"

VARIANTS: dict[str, tuple[str, ...]] = {
    "as shipped": (),
    "no closer looks": ("detection.boxes.tiles=0",),
    "boxes alone": ("detection.presence=0",),
    "no mirrored crop for unsure sides": ("detection.reader.unsure_side=0.5",),
    "one side where unsure": ("proposals.both_sides=false",),
    "doubted hands count like others": ("selection.disagreement=10",),
    "no re-crop": ("recrop.rounds=0",),
    "one re-crop": ("recrop.rounds=1",),
    "heat maps alone": ("fusion.use='heatmaps'",),
    "landmark network alone": ("fusion.use='landmark_network'",),
    "fusion without presence": ("fusion.presence_power=0",),
    "fusion without the hand's distance": (f"fusion.distance_variance={NEVER}",),
    "fusion without depth distance": (f"fusion.depth_distance={NEVER}",),
    "no fit": ("refine=false",),
    "fit without depth": (f"fit.depth_sigma={NEVER}",),
    "fit without depth certainty": ("fit.use_depth_certainty=false",),
    "fit without collisions": (f"fit.collision_sigma_m={NEVER}",),
    "fit without spread": ("fit.spread_limit=1.0",),
    "fit without outliers": (f"fit.outlier={NEVER}",),
    "fit with plain confidence": ("fit.confidence_power=1.0",),
    "placed without turning": ("view_fit.turn_sigma=1e-3",),
    "placed by the network's projection": ("view_fit.measured_share=0.0",),
    "placed by keypoints alone": ("view_fit.measured_share=1.0",),
}


@dataclass(frozen=True)
class HeuristicRow:
    """What a variant measures."""

    variant: str
    settings: tuple[str, ...]
    synthetic_mm: float
    """PA-MPJPE of the synthetic images, fitted."""
    found_percent: float
    """Photos of a hand in which one is found."""
    distance_percent: float
    """Mean distance of the drawn landmarks to the reference, in per cent of the hand, where both are there."""
    gross_percent: float
    """Photos in which no hand is found, or one drawn elsewhere (`GROSS_PERCENT`)."""


def training_photos(root: str | Path, every: int) -> list[SourcePhoto]:
    """Every so manieth photo (no video frame) that may train."""
    photos = (
        photo
        for folder in ("sign_digits", "real_crops")
        if (Path(root) / folder).exists()
        for photo in development_photos(root, only=folder)
        if not photo.held_out
    )
    return list(islice(photos, 0, None, every))


def reference_keypoints(predictor: Predictor, photos: Sequence[SourcePhoto]) -> list[np.ndarray | None]:
    """(21, 2) [px] of each photo's surest hand by the landmark network's mean over jittered crops; None without a
    hand.
    """
    references: list[np.ndarray | None] = []
    for k, photo in enumerate(photos):
        hands = predictor(photo.image)
        if hands:
            detection = hands[0].trace.detection
            references.append(mean_landmarks(predictor.reader, photo.image, detection, np.random.default_rng(k))[0])
        else:
            references.append(None)
    return references


def measure_variant(
    name: str, photos: Sequence[SourcePhoto], references: Sequence[np.ndarray | None], cache: str, model: str
) -> HeuristicRow:
    """One row. Runs in a process of its own, on one thread."""
    torch.set_num_threads(1)
    settings = VARIANTS[name]
    refine = "refine=false" not in settings
    predictor = load(
        model, refine=refine, settings=[s for s in settings if not s.startswith("refine")], backend="torch"
    )
    samples = CachedSamples(complete_shards(cache))
    synthetic = reconstructed(predictor.network, predictor.hand_model, samples, predictor.config, refine=refine)
    distances = []
    for photo, reference in zip(photos, references, strict=True):
        hands = predictor(photo.image)
        near = (
            [percent_distance(flat_landmarks(hand), reference) for hand in hands[:1]] if reference is not None else []
        )
        distances.append(near[0] if near else np.inf)
    values = np.array(distances)
    found = np.isfinite(values)
    return HeuristicRow(
        name,
        settings,
        synthetic.means()["pa_mpjpe_mm"],
        100 * float(found.mean()),
        float(values[found & (values < 50)].mean()),
        100 * float((values > GROSS_PERCENT).mean()),
    )


def measure_heuristics(
    root: str | Path,
    cache: str | Path,
    *,
    every: int = 8,
    workers: int = 2,
    model: str = "default",
    variants: Sequence[str] = tuple(VARIANTS),
    progress: Callable[[], None] = lambda: None,
) -> list[dict]:
    """A row per variant, as dicts, in the order of `variants`.

    Args:
        root: folder of the development data (docs/data.md).
        cache: feature shards of `HEURISTICS_SEED`.
        every: use every so manieth training photo.
        workers: processes.
        model: weights.
        variants: which.
        progress: called once per variant.

    """
    photos = training_photos(root, every)
    torch.set_num_threads(1)
    references = reference_keypoints(load(model), photos)
    rows: dict[str, HeuristicRow] = {}
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(measure_variant, name, photos, references, str(cache), model): name for name in variants}
        for job in as_completed(jobs):
            rows[jobs[job]] = job.result()
            progress()
    return [{**asdict(rows[name]), "photos": len(photos)} for name in variants]
