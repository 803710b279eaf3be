"""From a run's weights to a file to ship: half precision, and the confidence calibrated on held-out images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from maskhand.assets import FREE_HAND, network_config, read_network
from maskhand.checkpoint import save_weights
from maskhand.data.cached import CachedSamples, batch_keypoints
from maskhand.data.feature_cache import complete_shards
from maskhand.errors import InputError
from maskhand.fitting.prediction_fit import fit_prediction
from maskhand.geometry.alignment import align_similarity
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.inference.calibration import Calibration
from maskhand.inference.config import InferenceConfig
from maskhand.runtime.hand_network import HandNetwork


def export_weights(weights: str | Path, out: str | Path, cache: str | Path, *, limit: int = 2000) -> str:
    """Write `out`; returns a line that says what was done.

    Args:
        weights: of a run of `maskhand train model`.
        out: file to write.
        cache: feature shards with truth, which neither trained the weights nor test them.
        limit: samples to calibrate on.

    Raises:
        AssetError: the weights cannot be read.
        InputError: the shards hold photos, whose poses nobody knows.

    """
    network, config = read_network(weights)
    inference = InferenceConfig.of_weights(config.get("inference", {}))
    calibration = calibrated(network, inference, CachedSamples(complete_shards(cache)), limit=limit)
    inference = replace(inference, calibration=calibration)
    save_weights(
        out, network.state_dict(), network_config(network, inference, config.get("hand_model", FREE_HAND)), half=True
    )
    size = Path(out).stat().st_size / 1e6
    offset, slope, trust = calibration.offset, calibration.slope, calibration.trust
    curve = f"{offset:.2f} - {slope:.2f} ln(spread / mm) + {trust:.2f} ln(heat-map confidence)"
    return f"{out}: {size:.1f} MB, confidence = sigmoid({curve})"


@torch.inference_mode()
def calibrated(
    network: HandNetwork, inference: InferenceConfig, samples: CachedSamples, *, limit: int, batch: int = 50
) -> Calibration:
    """The calibration that fits how often joints of the first `limit` samples are right."""
    hand = HandModel(free_hand_data())
    spreads, confidences, errors = [], [], []
    count = min(limit, len(samples))
    for first in range(0, count, batch):
        rows, inputs = samples.inputs(np.arange(first, min(first + batch, count)), network.input_px)
        if not rows["labelled"].all():
            raise InputError(
                "these shards hold photos, whose poses nobody knows; name shards of `maskhand data cache synthetic`"
            )
        prediction = network.reconstruct(inputs, batch_keypoints(rows["points"]), hand, fusion=inference.fusion)
        prediction = fit_prediction(hand, prediction, inference.fit)
        joints, wanted = hand.keypoints(prediction.pose, prediction.shape), hand.keypoints(rows["pose"], rows["shape"])
        errors.append(1000 * (align_similarity(joints, wanted) - wanted).norm(dim=-1))
        spreads.append(prediction.spread)
        confidences.append(prediction.heatmap_confidence)
    return Calibration.fit(*(torch.cat(parts).numpy() for parts in (spreads, confidences, errors)))
