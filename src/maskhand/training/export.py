"""From training runs' weights to a file to ship: two runs averaged if wanted, fp16, confidence calibrated on held-out images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskhand.assets import FREE_HAND, read_model
from maskhand.checkpoint import read_weights, save_weights
from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import complete_shards
from maskhand.errors import InputError
from maskhand.geometry.alignment import align_similarity
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.fitting.prediction_fit import refined
from maskhand.inference.calibration import Calibration
from maskhand.training.transformer_stage import shipped_weights


@torch.inference_mode()
def ship_weights(weights: str | Path, out: str | Path, cache: str | Path, *, limit: int = 2000, batch: int = 50) -> str:
    """Write `out`; returns a line that says what was done."""
    model, config = read_model(weights)
    hand = HandModel(free_hand_data())
    samples = CachedSamples(complete_shards(cache))
    spreads, sure, errors = [], [], []
    count = min(limit, len(samples))
    for first in range(0, count, batch):
        rows, seen = samples.seen(np.arange(first, min(first + batch, count)), model.wants_px)
        if not rows["labelled"].all():
            raise InputError(f"{cache} holds photos, whose poses nobody knows; name shards of `maskhand data cache synthetic`")
        answer = refined(hand, model.reconstruct(seen, rows["points"], hand))
        found, wanted = hand.keypoints(answer.pose, answer.shape), hand.keypoints(rows["pose"], rows["shape"])
        errors.append(1000 * (align_similarity(found, wanted) - wanted).norm(dim=-1))
        spreads.append(answer.spread)
        sure.append(answer.head_confidence)
    calibration = Calibration.fit(*(torch.cat(parts).numpy() for parts in (spreads, sure, errors)))
    tensors, plain = shipped_weights(model)
    save_weights(
        out, tensors, {**plain, "calibration": asdict(calibration), "hand_model": config.get("hand_model", FREE_HAND)}, half=True
    )
    size = Path(out).stat().st_size / 1e6
    curve = f"{calibration.offset:.2f} - {calibration.slope:.2f} ln(spread / mm) + {calibration.trust:.2f} ln(head confidence)"
    return f"{out}: {size:.1f} MB, confidence = sigmoid({curve})"


def average_weights(later: str | Path, earlier: str | Path, out: str | Path, *, share: float, keep: tuple[str, ...] = ()) -> str:
    """Write `share` of a later run's weights plus the rest of those of the run it started from; returns a line that says so.

    What the earlier run lacks it had anyway: blocks of the trunk as they were, or layers that start without effect (zeros).
    A keypoint head that only the later run has is taken as it is, and so are weights whose names begin with one of `keep`: those
    that it began anew.
    (Wortsman et al., CVPR 2022, WiSE-FT: such an average keeps more of what the start was good at.)

    Raises:
        InputError: the two differ in more than what the later one has learned besides.

    """
    model, config = read_model(later)
    tensors = {key: value for key, value in model.state_dict().items() if not key.startswith(model.borrowed)}
    before, _ = read_weights(earlier)
    trunk = model.state_dict()
    found_before = "keypoint_head.read.weight" in before
    mixed = {}
    for key, value in tensors.items():
        own = key.removeprefix("encoder.backbone.own.")
        block = f"encoder.backbone.trunk.{'blocks.' if own[0].isdigit() else ''}{own}"
        old: Tensor | None
        if key.startswith(keep):
            old = value
        elif key in before:
            old = before[key]
        elif key.startswith(("pose_graph.depth.", "keypoint_context.")) or (found_before and ".correct." in key):
            old = torch.zeros_like(value)
        elif key.startswith("keypoint_head."):
            old = value
        else:
            old = trunk.get(block) if own != key else None
        if old is None or old.shape != value.shape:
            raise InputError(
                f"{earlier} does not fit {later}: they differ in {key}; the later run must have started from the earlier"
            )
        mixed[key] = torch.lerp(old, value, share) if value.is_floating_point() else value
    save_weights(out, mixed, {key: value for key, value in config.items() if key != "calibration"})
    return f"{out}: {share:g} of {later}, {1 - share:g} of {earlier}"
