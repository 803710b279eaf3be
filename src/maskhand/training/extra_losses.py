"""Losses of stage 2 that are this project's own: a teacher's keypoints on photos, the heat-map head, collisions. Pure
functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from maskhand.geometry.arrays import Constant
from maskhand.geometry.camera import project_in_crop, scale_in_crop, translation_from_weak
from maskhand.hand_model.collision import penetration_depths
from maskhand.hand_model.skeleton import KEYPOINT_PARENTS
from maskhand.keypoints.heatmap_head import HeatmapKeypoints, KeypointHead
from maskhand.training.paper_losses import weighted_mean
from maskhand.training.part_maps import PARTS, part_maps

_PARENTS = Constant(KEYPOINT_PARENTS[1:], integers=True)
EXPECTED_DEPTH_ERROR = 0.07
"""Mean error of a keypoint's depth at which its certainty is 1, crop from -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class ExtraLosses:
    """Weights; all 0 leaves the paper's losses alone."""

    keypoints: float = 4.0
    """L1 of the heat maps' keypoints, crop from -1 to 1."""
    heat: float = 0.1
    """Cross-entropy of the heat maps."""
    depth: float = 1.0
    """L1 of the heat maps' depths, in the same unit."""
    photo_depth: float = 0.3
    """How much an unlabelled photo, whose depth is the teacher's, counts in that."""
    bone_depth: float = 0.0
    """L1 of how much deeper each keypoint lies than the one before it along the finger, in the same unit."""
    intermediate: float = 0.0
    """The same losses after each hourglass but the last."""
    certainty: float = 0.0
    """Likelihood of the depths' errors under the certainty predicted (Laplace); labelled samples only."""
    parts: float = 0.0
    """Cross-entropy of which part of the hand each cell of the finest map shows; labelled samples only."""
    parts_depth: float = 0.0
    """L1 of the depth of the hand's surface in each of those cells, crop from -1 to 1."""
    fitted: float = 0.0
    """L1 of keypoints after the fit, where no token was visible; photos' against the teacher's, scaled [m]. Learns
    through the fit."""
    collision: float = 0.0
    """Sum of bones' penetration depths, before the fit and after it [m]."""
    teacher: float = 20.0
    """L1 of keypoints of unlabelled photos against the teacher's, scaled [m]."""
    teacher_image: float = 3.0
    """L1 of projected keypoints of unlabelled photos."""
    shape_prior: float = 0.01
    """Squared shape coefficients of unlabelled photos."""


def scaled_to(points: Float[Tensor, "B n 3"], target: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
    """Wrist-relative points scaled about the wrist to fit `target` best; the scale itself gets no gradient."""
    with torch.no_grad():
        scale = (points * target).sum((1, 2)) / points.square().sum((1, 2)).clamp(min=1e-9)
    return points * scale[:, None, None]


def teacher_error(landmarks: Float[Tensor, "B 21 3"], target: Float[Tensor, "B 21 3"]) -> Float[Tensor, "B 21 3"]:
    """Distance of the landmark network's points on a hand to a teacher's [m], in the teacher's size."""
    return (scaled_to(landmarks - landmarks[:, :1], target) - target).abs()


def photo_losses(
    batch: dict[str, Tensor],
    shape: Float[Tensor, "B S"],
    weak_camera: Float[Tensor, "B 3"],
    landmarks: Float[Tensor, "B 21 3"],
    photo: Float[Tensor, " B"],
) -> dict[str, Tensor]:
    """Losses of unlabelled photos, by a teacher's keypoints.

    Args:
        batch: with the teacher's keypoints_3d [m] about the wrist and keypoints_2d in the crop.
        shape, weak_camera: predicted.
        landmarks: the landmark network's points on the predicted hand [m].
        photo: 1 for photos, 0 for labelled samples.

    """
    flat = project_in_crop(landmarks, translation_from_weak(weak_camera))
    return {
        "teacher": weighted_mean(teacher_error(landmarks, batch["keypoints_3d"]), photo),
        "teacher_image": weighted_mean((flat - batch["keypoints_2d"]).abs(), photo),
        "shape_prior": weighted_mean(shape.square(), photo),
    }


def collision_loss(keypoints: Float[Tensor, "B 21 3"]) -> Float[Tensor, ""]:
    """Sum of the penetration depths of a hand's bones [m]; the mean over hands."""
    return penetration_depths(keypoints)[0].clamp(min=0).sum(1).mean()


@dataclass(frozen=True)
class KeypointTargets:
    """What the heat-map head is to find: the landmark network's points, as photos' teachers are."""

    places: Float[Tensor, "B 21 2"]
    """Crop from -1 to 1."""
    depth: Float[Tensor, "B 21"]
    """Behind the wrist, in the same unit."""
    inside: Float[Tensor, "B 21"]
    """1 inside the crop."""
    scale: Float[Tensor, " B"]
    """How much of the crop a metre takes."""


def keypoint_targets(
    batch: dict[str, Tensor], landmarks: Float[Tensor, "B 21 3"], labelled: Float[Tensor, " B"]
) -> KeypointTargets:
    """Targets of a batch; `landmarks` are the landmark network's points on the true hand [m], for labelled samples."""
    space, places = batch["keypoints_3d"], batch["keypoints_2d"]
    scale = scale_in_crop(space, places)
    known = (labelled > 0)[:, None, None]
    places = torch.where(known, places + scale[:, None, None] * (landmarks - space)[..., :2], places)
    space = torch.where(known, landmarks, space)
    depth = scale[:, None] * (space - space[:, :1])[..., 2]
    return KeypointTargets(places, depth, (places.abs() < 1).all(-1).float(), scale)


def heatmap_losses(
    head: KeypointHead,
    predicted: HeatmapKeypoints,
    target: KeypointTargets,
    labelled: Float[Tensor, " B"],
    weights: ExtraLosses,
) -> dict[str, Tensor]:
    """Losses of the heat maps' keypoints and depths, of the last map and of intermediate ones."""
    heat = head.target_heat(target.places)
    everyone, by_depth = torch.ones_like(labelled), labelled + weights.photo_depth * (1 - labelled)
    parents = _PARENTS.on(target.depth)

    def losses(maps: HeatmapKeypoints) -> dict[str, Tensor]:
        deeper = maps.keypoints.depth - target.depth
        return {
            "keypoints": weighted_mean((maps.keypoints.xy - target.places).abs(), everyone),
            "heat": weighted_mean(-(heat * maps.log_heat).sum(-1) * target.inside, everyone),
            "depth": weighted_mean(deeper.abs(), by_depth),
            "bone_depth": weighted_mean((deeper[:, 1:] - deeper[:, parents]).abs(), by_depth),
        }

    terms = losses(predicted)
    if predicted.intermediate:
        early = [losses(maps) for maps in predicted.intermediate]
        weighted = [getattr(weights, name) * value for each in early for name, value in each.items()]
        terms["intermediate"] = torch.stack(weighted).sum() / len(early)
    return terms


def certainty_loss(
    predicted: HeatmapKeypoints, target: KeypointTargets, labelled: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Negative log likelihood of the depths' errors under a Laplace distribution as wide as the certainty says."""
    error = (predicted.keypoints.depth.detach() - target.depth).abs() / EXPECTED_DEPTH_ERROR
    certainty = predicted.depth_certainty
    if certainty is None:
        raise ValueError("the head predicts no certainty")
    return weighted_mean(error * certainty - certainty.log(), labelled)


def part_losses(
    logits: Float[Tensor, "B P H W"], head: KeypointHead, target: KeypointTargets, labelled: Float[Tensor, " B"]
) -> dict[str, Tensor]:
    """Losses of `PARTS` logits and one depth per cell of the finest map."""
    parts, depth = logits.flatten(2).split([PARTS, 1], 1)
    points = torch.cat([target.places, target.depth[..., None]], -1)
    part, surface = part_maps(points, target.scale, head.x, head.y)
    shown: Bool[Tensor, "B N"] = part > 0
    return {
        "parts": weighted_mean(cross_entropy(parts, part, reduction="none"), labelled),
        "parts_depth": weighted_mean((depth[:, 0] - surface).abs() * shown, labelled),
    }
