"""Errors of reconstructed hands on samples with truth, beside those of the landmark network's own 3D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskhand.config import DEFAULT_STEPS
from maskhand.data.cached import CachedSamples, batch_keypoints
from maskhand.evaluation.metrics import aligned_point_error_mm, mean_point_error_mm
from maskhand.fitting.prediction_fit import fit_prediction
from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.camera import project_in_crop, translation_from_weak
from maskhand.hand_model.layer import HandModel
from maskhand.inference.calibration import RIGHT_WITHIN_MM
from maskhand.inference.config import InferenceConfig
from maskhand.model.unmasking import masked_after
from maskhand.runtime.hand_network import HandNetwork
from maskhand.types import Prediction


@dataclass(frozen=True)
class Reconstructed:
    """Hands reconstructed from N samples with truth, one row each."""

    errors: dict[str, Float[Tensor, " N"]]
    """PA-MPJPE, PA-MPVPE, wrist-relative MPJPE [mm], 2D error [% of the crop's side]; the landmark network's own."""
    joint_mm: Float[Tensor, "N 21"]
    """Distance of each keypoint to the truth after alignment [mm]."""
    visible: Bool[Tensor, "N 21"]
    confidence: Float[Tensor, "N 21"]
    """Probability that the joint is right, by the calibration given."""
    flat: Float[Tensor, "N 21 2"]
    """The predicted keypoints, crop from -1 to 1."""
    codes_used: float
    """Share of the codebook that occurs in the predictions."""

    def means(self) -> dict[str, float]:
        """Mean errors, visible and occluded joints separately, mean confidence beside the share of joints that are
        right, and the Spearman correlation of doubt and error.
        """
        result = {key: value.mean().item() for key, value in self.errors.items()}
        result["codes_used"] = self.codes_used
        result["visible_pa_mm"] = self.joint_mm[self.visible].mean().item()
        result["occluded_pa_mm"] = self.joint_mm[~self.visible].mean().item()
        result["confidence_percent"] = 100 * self.confidence.mean().item()
        result["right_percent"] = 100 * (self.joint_mm < RIGHT_WITHIN_MM).float().mean().item()
        result["spearman_hand"] = spearman(-self.confidence.mean(1), self.errors["pa_mpjpe_mm"])
        result["spearman_joint"] = spearman(-self.confidence.flatten(), self.joint_mm.flatten())
        return result


@torch.inference_mode()
def reconstructed(
    network: HandNetwork,
    hand_model: HandModel,
    samples: CachedSamples,
    config: InferenceConfig = InferenceConfig(),
    *,
    steps: int = DEFAULT_STEPS,
    limit: int | None = None,
    batch: int = 50,
    refine: bool = False,
) -> Reconstructed:
    """The first `limit` samples' hands beside the truth.

    config: fusion, fit and calibration.
    refine: fit poses to the 2D keypoints, as the predictor does.
    """
    columns: dict[str, list[Tensor]] = {}
    used = torch.zeros(len(network.model.codes), dtype=torch.bool)
    count = min(limit or len(samples), len(samples))
    for first in range(0, count, batch):
        device = network.device
        index = np.arange(first, min(first + batch, count))
        rows, inputs = samples.inputs(index, network.input_px)
        rows = {k: v.to(device) for k, v in rows.items()}
        inputs = inputs.to(device) if isinstance(inputs, Tensor) else {k: v.to(device) for k, v in inputs.items()}
        keypoints = batch_keypoints(rows["points"])
        prediction = network.reconstruct(inputs, keypoints, hand_model, steps=steps, fusion=config.fusion)
        if refine:
            prediction = fit_prediction(hand_model, prediction, config.fit)
        used[prediction.tokens.unique().cpu()] = True
        found, wanted = hand_model(prediction.pose, prediction.shape), hand_model(rows["pose"], rows["shape"])
        aligned = align_similarity(found.keypoints, wanted.keypoints)
        flat = project_in_crop(found.keypoints, translation_from_weak(prediction.weak_camera))
        values = {
            "pa_mpjpe_mm": aligned_point_error_mm(found.keypoints, wanted.keypoints),
            "pa_mpvpe_mm": aligned_point_error_mm(found.vertices, wanted.vertices),
            "mpjpe_mm": mean_point_error_mm(found.keypoints, wanted.keypoints),
            "image_error_percent": 50 * (flat - rows["keypoints_2d"]).norm(dim=-1).mean(1),
            "landmark_network_pa_mpjpe_mm": aligned_point_error_mm(rows["points"][..., [0, 1, 3]], wanted.keypoints),
            "landmark_network_metric_pa_mpjpe_mm": aligned_point_error_mm(rows["world"], wanted.keypoints),
            "landmark_network_image_error_percent": 50
            * (rows["points"][..., :2] - rows["keypoints_2d"]).norm(dim=-1).mean(1),
            "joint_mm": 1000 * (aligned - wanted.keypoints).norm(dim=-1),
            "visible": rows["visible"],
            "confidence": joint_confidence(prediction, config),
            "flat": flat,
        }
        for key, value in values.items():
            columns.setdefault(key, []).append(value.cpu())
    table = {key: torch.cat(parts) for key, parts in columns.items()}
    rest = {key: table.pop(key) for key in ("joint_mm", "visible", "confidence", "flat")}
    return Reconstructed(errors=table, codes_used=used.float().mean().item(), **rest)


@torch.inference_mode()
def rounds(
    network: HandNetwork, hand_model: HandModel, samples: CachedSamples, *, steps: int, limit: int, batch: int = 50
) -> list[tuple[int, float]]:
    """Tokens still masked after each round of unmasking, and their mean confidence in it (paper, Appendix K, Figure
    12).
    """
    confidence = []
    for first in range(0, limit, batch):
        rows, inputs = samples.inputs(np.arange(first, min(first + batch, limit)), network.input_px)
        keypoints = batch_keypoints(rows["points"])
        confidence.append(network.reconstruct(inputs, keypoints, hand_model, steps=steps).round_confidence)
    length = network.model.tokenizer.config.token_count
    masked = (masked_after(k, steps, length) for k in range(1, steps + 1))
    return list(zip(masked, torch.cat(confidence).mean(0).tolist(), strict=True))  # type: ignore[arg-type]


def joint_confidence(prediction: Prediction, config: InferenceConfig) -> Float[Tensor, "B 21"]:
    """Probability that each joint is right, by the calibration and what the networks' disagreement takes of it."""
    spread, heatmaps = prediction.spread.cpu().numpy(), prediction.heatmap_confidence.cpu().numpy()
    trust = config.selection.trust(prediction.disagreement.cpu().numpy())
    return torch.from_numpy(config.calibration(spread, heatmaps) * trust[:, None])


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two lists."""
    ranks = torch.stack([x.argsort().argsort().double() for x in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()
