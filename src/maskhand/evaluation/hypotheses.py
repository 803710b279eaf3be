"""Ranked hypotheses beside the single prediction, on samples with truth: how much is in the ranking, and in the best of
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from maskhand.config import DRAWING_STEPS
from maskhand.data.cached import CachedSamples, batch_keypoints
from maskhand.evaluation.metrics import aligned_point_error_mm
from maskhand.evaluation.reconstruction import joint_confidence, spearman
from maskhand.fitting.prediction_fit import fit_prediction
from maskhand.geometry.alignment import align_similarity
from maskhand.inference.calibration import RIGHT_WITHIN_MM
from maskhand.inference.hypotheses import mean_pairwise_distance
from maskhand.model.unmasking import Sampling
from maskhand.predictor import Predictor


@torch.inference_mode()
def hypothesis_errors(
    predictor: Predictor,
    samples: CachedSamples,
    *,
    count: int = 16,
    steps: int = DRAWING_STEPS,
    refine: bool = True,
    limit: int | None = None,
    batch: int = 10,
) -> dict[str, float]:
    """PA-MPJPE [mm] of the single prediction and of `count` hypotheses per hand, by rank; how well
    the ranks agree with the errors.

    best: the one nearest to the truth, as diffusion models report it (an oracle: nobody knows which it is).
    """
    network, hand_model, config = predictor.network, predictor.hand_model, predictor.config
    drawing: dict[str, Any] = {
        "steps": steps,
        "sampling": Sampling(temperature=1.0),
        "rng": np.random.default_rng(0),
        "draws": count,
    }
    singles, errors, distances, confidence, probability, right = [], [], [], [], [], []
    end = min(limit or len(samples), len(samples))
    for first in range(0, end, batch):
        rows, inputs = samples.inputs(np.arange(first, min(first + batch, end)), network.input_px)
        keypoints = batch_keypoints(rows["points"])
        single = network.reconstruct(inputs, keypoints, hand_model, fusion=config.fusion)
        drawn = network.reconstruct(inputs, keypoints, hand_model, fusion=config.fusion, **drawing)
        if refine:
            single, drawn = (fit_prediction(hand_model, hands, config.fit) for hands in (single, drawn))
        wanted = hand_model.keypoints(rows["pose"], rows["shape"])
        singles.append(aligned_point_error_mm(hand_model.keypoints(single.pose, single.shape), wanted))
        repeated = wanted.repeat_interleave(count, 0)
        poses = hand_model.keypoints(drawn.pose, drawn.shape)
        off = 1000 * (align_similarity(poses, repeated) - repeated).norm(dim=-1)
        distances += [mean_pairwise_distance(of_one) for of_one in poses.split(count)]
        sure = joint_confidence(drawn, config)
        right.append(off < RIGHT_WITHIN_MM)
        errors.append(off.mean(1).unflatten(0, (-1, count)))
        confidence.append(sure.mean(1).unflatten(0, (-1, count)))
        probability.append(drawn.token_confidence.clamp(min=1e-9).log().mean(1).unflatten(0, (-1, count)))
    error, far, sure, likely = torch.cat(errors), torch.stack(distances), torch.cat(confidence), torch.cat(probability)
    ranked = error.gather(1, far.argsort(1))
    return {
        "answer_pa_mpjpe_mm": torch.cat(singles).mean().item(),
        "hypotheses_pa_mpjpe_mm": error.mean().item(),
        "first_pa_mpjpe_mm": ranked[:, 0].mean().item(),
        "last_pa_mpjpe_mm": ranked[:, -1].mean().item(),
        "best_pa_mpjpe_mm": error.amin(1).mean().item(),
        "spearman_rank": _mean_spearman(far, error),
        "spearman_doubt": _mean_spearman(-sure, error),
        "spearman_improbability": _mean_spearman(-likely, error),
        "mean_confidence": sure.mean().item(),
        "joints_right": torch.cat(right).float().mean().item(),
    }


def _mean_spearman(measure: torch.Tensor, error: torch.Tensor) -> float:
    """Of every hand's hypotheses among each other."""
    return float(np.mean([spearman(a, b) for a, b in zip(measure, error, strict=True)]))
