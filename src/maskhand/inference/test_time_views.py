"""Test-time augmentation: several views of a hand, averaged. This project's addition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskhand.geometry.arrays import Array, like, namespace, to_numpy
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


def average_views(prediction: Prediction, crops: list[Crop], count: int) -> Prediction:
    """One prediction per hand from `count` each, in the first one's crop: mean rotations, shapes, scales and keypoints.

    Tokens and their confidence are the first view's.
    """
    xp, pose = namespace(prediction.pose), prediction.pose
    turns, growth, places = [], [], []
    for k, (crop, xy) in enumerate(zip(crops, to_numpy(prediction.keypoints.xy), strict=True)):
        base = crops[k // count * count]  # the first view of the same hand
        flip = np.diag([-1.0 if crop.mirrored else 1.0, 1.0, 1.0])
        turns.append(flip @ base.camera_rotation().T @ crop.camera_rotation() @ flip)
        growth.append(crop.side / base.side)
        places.append(base.to_crop(crop.to_photo(xy.astype(np.float64))))
    turned = like(np.stack(turns), pose)[:, None] @ pose[:, :1]
    pose = xp.concat([turned, pose[:, 1:]], axis=1)
    larger, xy = like(np.array(growth), pose), like(np.stack(places), pose)

    def mean(values: Array) -> Array:
        return xp.mean(xp.reshape(values, (-1, count, *values.shape[1:])), axis=1)

    points = prediction.keypoints
    scale = mean(prediction.weak_camera[:, 0] * larger)
    camera = xp.concat([scale[:, None], prediction.weak_camera[::count, 1:]], axis=1)
    return Prediction(
        pose=nearest_rotation(mean(pose)),
        shape=mean(prediction.shape),
        weak_camera=camera,
        keypoints=Keypoints2D(
            mean(xy),
            mean(points.confidence),
            mean(points.depth * larger[:, None]),
            mean(points.presence),
            points.convention,
            points.source,
        ),
        tokens=prediction.tokens[::count],
        token_confidence=prediction.token_confidence[::count],
        spread=mean(prediction.spread),
        heatmap_confidence=mean(prediction.heatmap_confidence),
        disagreement=mean(prediction.disagreement),
        depth_certainty=None if prediction.depth_certainty is None else mean(prediction.depth_certainty),
    )
