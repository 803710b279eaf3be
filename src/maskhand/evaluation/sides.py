"""Left or right: how often one look is right, the mean of a crop and its mirror image, the likelier of both readings, and all.

On synthetic hands, whose side is known. The likelier reading is the one whose mesh, put back into the crop, lies nearer to the
keypoints it was made from: what a model that knows right hands only can say of a left one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from maskhand.detection.hand_detector import PRESENCE_THRESHOLD, UNSURE_SIDE
from maskhand.fitting.prediction_fit import off_keypoints, side_odds
from maskhand.backbones.hand import by_scale
from maskhand.predictor import Predictor
from maskhand.synthesis.scenes import CHUNK, SceneConfig, SceneGenerator

SIDES_SEED = 777_001
"""Training runs use small seeds."""


@torch.inference_mode()
def side_accuracy(
    predictor: Predictor, count: int = 1600, *, steps: int = 3, progress: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Shares [%] of right answers, of all hands that are found and of those whose first look is unsure."""
    generator = SceneGenerator(predictor.hand_model, SceneConfig(upright=predictor.model.config.upright_crop), SIDES_SEED)
    columns: list[Tensor] = []
    for chunk in range(-(-count // CHUNK)):
        samples = generator.chunk(chunk)
        pixels = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2).float() / 255  # all are right hands
        near = torch.from_numpy(np.stack([s.keypoints_2d for s in samples])).float()
        as_right, apart, presence = _reading(predictor, pixels, near, steps)
        as_left, apart_left, _ = _reading(predictor, pixels.flip(-1), near * torch.tensor([-1, 1]), steps)
        mirrored = as_right.logit() - as_left.logit()
        both = side_odds((mirrored / 2).sigmoid(), apart, apart_left)
        columns.append(torch.stack([as_right.logit(), mirrored, (apart_left / apart).log(), both, presence], 1))
        progress()
    one, mirrored, likelier, both, presence = torch.cat(columns)[:count].T
    found = presence > PRESENCE_THRESHOLD
    unsure = found & (one.sigmoid() > UNSURE_SIDE) & (one.sigmoid() < 1 - UNSURE_SIDE)
    result = {"hands_found": float(found.sum()), "hands_unsure": float(unsure.sum())}
    odds = {"one_look": one, "with_mirror_image": mirrored, "likelier_reading": likelier, "mirror_image_and_reading": both}
    for name, values in odds.items():
        result[f"{name}_percent"] = 100 * (values[found] > 0).float().mean().item()
        result[f"{name}_unsure_percent"] = 100 * (values[unsure] > 0).float().mean().item()
    return result


def _reading(predictor: Predictor, pixels: Tensor, near: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of a right hand as shown, distance of the mesh to the keypoints it was made from, presence. (B,) each"""
    maps, pooled = predictor.landmarks.trunk(pixels)
    read = predictor.landmarks.read(pooled)
    upright, size = predictor.model.config.upright_crop, predictor.model.wants_px
    points = read.keypoints if upright else predictor.landmarks.keypoints_as_upright(pixels, near)
    seen = by_scale(maps) if size is None else interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    answer = predictor.model.reconstruct(seen, points, predictor.hand_model, steps=steps)
    return read.right, off_keypoints(predictor.hand_model, answer), read.presence
