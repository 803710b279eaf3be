"""From a training run's weights to a file to ship: fp16, confidence calibrated on held-out images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from maskhand.assets import FREE_HAND, read_model
from maskhand.checkpoint import save_weights
from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import complete_shards
from maskhand.geometry.alignment import align_similarity
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.model.answer import refined
from maskhand.model.confidence import Calibration
from maskhand.training.transformer_stage import shipped_weights


@torch.inference_mode()
def ship_weights(weights: str | Path, out: str | Path, cache: str | Path, *, limit: int = 2000, batch: int = 50) -> str:
    """Write `out`; returns a line that says what was done."""
    model, config = read_model(weights)
    hand = HandModel(free_hand_data())
    samples = CachedSamples(complete_shards(cache))
    spreads, errors = [], []
    count = min(limit, len(samples))
    for first in range(0, count, batch):
        rows = samples.rows(np.arange(first, min(first + batch, count)))
        answer = refined(hand, model.reconstruct({4: rows["map8"]}, rows["points"], hand), rows["points"])
        found, wanted = hand.keypoints(answer.pose, answer.shape), hand.keypoints(rows["pose"], rows["shape"])
        errors.append(1000 * (align_similarity(found, wanted) - wanted).norm(dim=-1))
        spreads.append(answer.spread)
    calibration = Calibration.fit(torch.cat(spreads).numpy(), torch.cat(errors).numpy())
    tensors, plain = shipped_weights(model)
    save_weights(
        out, tensors, {**plain, "calibration": asdict(calibration), "hand_model": config.get("hand_model", FREE_HAND)}, half=True
    )
    size = Path(out).stat().st_size / 1e6
    return f"{out}: {size:.1f} MB, confidence = sigmoid({calibration.offset:.2f} - {calibration.slope:.2f} ln(spread / mm))"
