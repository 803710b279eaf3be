"""Test-time augmentation: several views of a hand, averaged. This project's addition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from maskhand.geometry.crop import Crop
from maskhand.geometry.rotations import nearest_rotation
from maskhand.types import Keypoints2D, Prediction


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """How the further views differ from the first."""

    turn: float = 0.2
    """Largest turn [rad]."""
    growth: float = 0.1
    """Largest change of the logarithm of the crop's side."""


def views_around(crop: Crop, count: int, config: ViewsConfig = ViewsConfig()) -> list[Crop]:
    """The crop and `count` - 1 others around it, turned and scaled a little, always the same ones."""
    views = [crop]
    for k in range(1, count):
        phase = 2 * np.pi * k / max(1, count - 1)
        side = crop.side * float(np.exp(config.growth * np.cos(phase)))
        views.append(replace(crop, side=side, angle=crop.angle + config.turn * float(np.sin(phase + 0.5))))
    return views


@torch.inference_mode()
def average_views(prediction: Prediction, crops: list[Crop], count: int) -> Prediction:
    """One prediction per hand from `count` each, in the first one's crop: mean rotations, shapes, scales and keypoints.

    Tokens and their confidence are the first view's.
    """
    first = [crops[k // count * count] for k in range(len(crops))]
    pose, scale = prediction.pose.clone(), prediction.weak_camera[:, 0].clone()
    xy, depth = prediction.keypoints.xy.clone(), prediction.keypoints.depth.clone()
    for k, (crop, base) in enumerate(zip(crops, first, strict=True)):
        flip = np.diag([-1.0 if crop.mirrored else 1.0, 1.0, 1.0])
        turn = flip @ base.camera_rotation().T @ crop.camera_rotation() @ flip
        pose[k, 0] = torch.as_tensor(turn, dtype=pose.dtype, device=pose.device) @ pose[k, 0]
        scale[k] *= crop.side / base.side
        place = base.to_crop(crop.to_photo(xy[k].cpu().numpy().astype(np.float64)))
        xy[k] = torch.as_tensor(place, dtype=xy.dtype, device=xy.device)
        depth[k] *= crop.side / base.side

    def mean(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (-1, count)).mean(1)

    points = prediction.keypoints
    camera = prediction.weak_camera[::count].clone()
    camera[:, 0] = mean(scale)
    return Prediction(
        pose=nearest_rotation(mean(pose)),
        shape=mean(prediction.shape),
        weak_camera=camera,
        keypoints=Keypoints2D(
            mean(xy), mean(points.confidence), mean(depth), mean(points.presence), points.convention, points.source
        ),
        tokens=prediction.tokens[::count],
        token_confidence=prediction.token_confidence[::count],
        spread=mean(prediction.spread),
        heatmap_confidence=mean(prediction.heatmap_confidence),
        disagreement=mean(prediction.disagreement),
        depth_certainty=None if prediction.depth_certainty is None else mean(prediction.depth_certainty),
    )
