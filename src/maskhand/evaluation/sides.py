"""Left or right: how often one crop is right, the mean of it and its mirror image, the likelier of both readings, and
all.

On synthetic hands, whose side is known. The likelier reading is the one whose mesh, put back into the crop, lies nearer
to the
keypoints it was made from: what a model that knows right hands only can say of a left one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from maskhand.backbones.hand import by_scale
from maskhand.detection.landmark_network import shared_landmark_network
from maskhand.evaluation.detection import DetectionTally, reconstructed_by
from maskhand.fitting.prediction_fit import reprojection_error
from maskhand.inference.handedness import side_log_odds
from maskhand.predictor import Predictor
from maskhand.synthesis.pairs import PAIR_KINDS, PairGenerator
from maskhand.synthesis.scenes import CHUNK, SceneConfig, SceneGenerator

SIDES_SEED = 777_001
"""Training runs use small seeds."""
_SAME_HAND = 0.3  # IoU


def pair_sides(
    predictor: Predictor, count: int = 64, *, progress: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Of photos of a right and a left hand, by how the two lie: hands found, and of these those on the right side [%].

    Args:
        predictor: sees the whole photos.
        count: photos of each kind.
        progress: called once per kind.

    """
    result, detect = {}, reconstructed_by(predictor)
    for kind in PAIR_KINDS:
        generator = PairGenerator(predictor.hand_model, kind, SIDES_SEED)
        pairs = [pair for chunk in range(-(-count // CHUNK)) for pair in generator.chunk(chunk)][:count]
        tally = DetectionTally(_SAME_HAND)
        for pair in pairs:
            tally.add(detect(pair.image), pair.boxes, ("right", "left"), float(len(pair.image)), (1.0, 0.0))
        name = kind.replace(" ", "_")
        result[f"{name}_found_percent"] = 100 * tally.recall()
        result[f"{name}_side_percent"] = 100 * float(np.mean(tally.sides)) if tally.sides else float("nan")
        progress()
    return result


@torch.inference_mode()
def side_accuracy(
    predictor: Predictor, count: int = 1600, *, steps: int = 1, progress: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Shares [%] of correct sides, of all hands that are found and of those of which the first crop is unsure."""
    generator = SceneGenerator(
        predictor.hand_model, SceneConfig(upright=predictor.network.config.crop.upright), SIDES_SEED
    )
    columns: list[Tensor] = []
    for chunk in range(-(-count // CHUNK)):
        samples = generator.chunk(chunk)
        pixels = (
            torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2).float() / 255
        )  # all are right hands
        near = torch.from_numpy(np.stack([s.keypoints_2d for s in samples])).float()
        as_right, error_right, presence = _read(predictor, pixels, near, steps)
        as_left, error_left, _ = _read(predictor, pixels.flip(-1), near * torch.tensor([-1, 1]), steps)
        mirrored = as_right.logit() - as_left.logit()
        right, errors = (mirrored / 2).sigmoid().numpy(), (error_right.numpy(), error_left.numpy())
        both = torch.from_numpy(side_log_odds(right, *errors, predictor.config.selection.side_odds))
        columns.append(torch.stack([as_right.logit(), mirrored, (error_left / error_right).log(), both, presence], 1))
        progress()
    one, mirrored, likelier, both, presence = torch.cat(columns)[:count].T
    config = predictor.config.detection
    found, limit = presence > config.reader.presence, config.reader.unsure_side
    unsure = found & (one.sigmoid() > limit) & (one.sigmoid() < 1 - limit)
    result = {"hands_found": float(found.sum()), "hands_unsure": float(unsure.sum())}
    odds = {
        "one_crop": one,
        "with_mirror_image": mirrored,
        "likelier_reading": likelier,
        "mirror_image_and_reading": both,
    }
    for name, values in odds.items():
        result[f"{name}_percent"] = 100 * (values[found] > 0).float().mean().item()
        result[f"{name}_unsure_percent"] = 100 * (values[unsure] > 0).float().mean().item()
    return result


def _read(predictor: Predictor, pixels: Tensor, near: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of a right hand as shown, reprojection error, presence. (B,) each"""
    network, landmarks = predictor.network, shared_landmark_network()
    read, maps = landmarks.with_maps(pixels)
    size = network.input_px
    keypoints = read.keypoints if network.config.crop.upright else landmarks.keypoints_turned_upright(pixels, near)
    inputs = by_scale(maps) if size is None else interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    prediction = network.reconstruct(
        inputs, keypoints, predictor.hand_model, steps=steps, fusion=predictor.config.fusion
    )
    return read.right, reprojection_error(predictor.hand_model, prediction), read.presence
