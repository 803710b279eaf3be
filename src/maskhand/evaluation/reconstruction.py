"""Errors of reconstructed hands on samples with truth, beside those of the landmark network's own 3D."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maskhand.config import DEFAULT_STEPS
from maskhand.data.cached import CachedSamples
from maskhand.evaluation.metrics import aligned_point_error_mm, mean_point_error_mm
from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.camera import project_in_crop, translation_from_weak
from maskhand.hand_model.layer import HandModel
from maskhand.model.answer import refined
from maskhand.model.maskhand import MaskHandModel


@torch.inference_mode()
def reconstruction_errors(
    model: MaskHandModel,
    hand_model: HandModel,
    samples: CachedSamples,
    *,
    steps: int = DEFAULT_STEPS,
    limit: int | None = None,
    batch: int = 50,
    refine: bool = False,
) -> dict[str, float]:
    """PA-MPJPE, PA-MPVPE, wrist-relative MPJPE [mm], 2D error [% of the crop's side], visible and occluded joints apart,
    Spearman correlation of spread and error; and the landmark network's own figures on the same crops.
    """
    columns: dict[str, list[Tensor]] = {}
    used = torch.zeros(len(model.codes), dtype=torch.bool)
    count = min(limit or len(samples), len(samples))
    for first in range(0, count, batch):
        device = model.codes.device
        index = np.arange(first, min(first + batch, count))
        rows, seen = samples.seen(index, model.wants_px)
        rows = {k: v.to(device) for k, v in rows.items()}
        seen = seen.to(device) if isinstance(seen, Tensor) else {k: v.to(device) for k, v in seen.items()}
        answer = model.reconstruct(seen, rows["points"], hand_model, steps=steps)
        if refine:
            answer = refined(hand_model, answer)
        used[answer.tokens.unique().cpu()] = True
        found, wanted = hand_model(answer.pose, answer.shape), hand_model(rows["pose"], rows["shape"])
        aligned = align_similarity(found.keypoints, wanted.keypoints)
        flat = project_in_crop(found.keypoints, translation_from_weak(answer.weak_camera))
        values = {
            "pa_mpjpe_mm": aligned_point_error_mm(found.keypoints, wanted.keypoints),
            "pa_mpvpe_mm": aligned_point_error_mm(found.vertices, wanted.vertices),
            "mpjpe_mm": mean_point_error_mm(found.keypoints, wanted.keypoints),
            "image_error_percent": 50 * (flat - rows["keypoints_2d"]).norm(dim=-1).mean(1),
            "landmark_network_pa_mpjpe_mm": aligned_point_error_mm(rows["points"][..., [0, 1, 3]], wanted.keypoints),
            "landmark_network_metric_pa_mpjpe_mm": aligned_point_error_mm(rows["world"], wanted.keypoints),
            "landmark_network_image_error_percent": 50 * (rows["points"][..., :2] - rows["keypoints_2d"]).norm(dim=-1).mean(1),
            "_joint": 1000 * (aligned - wanted.keypoints).norm(dim=-1),
            "_visible": rows["visible"],
            "_spread": answer.spread,
        }
        for key, value in values.items():
            columns.setdefault(key, []).append(value.cpu())
    table = {key: torch.cat(parts) for key, parts in columns.items()}
    joint, visible, spread = (table.pop(key) for key in ("_joint", "_visible", "_spread"))
    result = {key: value.mean().item() for key, value in table.items()}
    result["codes_used"] = used.float().mean().item()
    result["visible_pa_mm"] = joint[visible].mean().item()
    result["occluded_pa_mm"] = joint[~visible].mean().item()
    result["spearman_hand"] = spearman(spread.mean(1), table["pa_mpjpe_mm"])
    result["spearman_joint"] = spearman(spread.flatten(), joint.flatten())
    return result


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two lists."""
    ranks = torch.stack([x.argsort().argsort().double() for x in (a, b)])
    return torch.corrcoef(ranks)[0, 1].item()
