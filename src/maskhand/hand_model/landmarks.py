"""Where the landmark network puts its 21 points about our hand's keypoints: the two mean slightly different places.

Its fingertips lie deeper in the finger, its knuckles nearer to the palm. The offsets were measured by
`scripts/measure_landmark_offsets.py` on synthetic images, where our keypoints are known. On real triangulated landmarks they
make our hand's error smaller too (docs/model-card.md), so they are no quirk of the renders alone.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.hand_model.layer import HandModel, global_rotations
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS

LANDMARK_OFFSETS_MM = (
    (-3.7, 0.0, -0.5),
    (5.3, -4.4, 4.3),
    (2.2, -1.8, -0.4),
    (1.2, -0.4, -4.4),
    (6.4, 0.3, -6.1),
    (0.8, -1.5, -2.2),
    (-2.6, -3.4, -0.5),
    (-1.8, -2.5, 0.1),
    (6.8, -0.5, -0.8),
    (4.8, -4.1, 0.6),
    (-2.5, -3.4, 0.8),
    (-0.0, -3.8, 0.9),
    (7.0, -1.5, 1.0),
    (2.6, -4.2, 0.4),
    (-2.5, -2.9, -0.2),
    (-1.7, -3.8, 0.0),
    (7.2, -1.5, 1.9),
    (2.8, -3.2, 1.2),
    (-0.7, -3.1, 0.5),
    (-1.4, -2.9, -0.3),
    (4.8, -1.2, 2.2),
)
"""(21, 3) in the axes of the joint that carries each keypoint (`KEYPOINT_CARRIERS`)."""


def landmark_offsets(like: Tensor) -> Float[Tensor, "21 3"]:
    """The offsets in metres, of the type and on the device of another tensor."""
    return torch.tensor(LANDMARK_OFFSETS_MM, dtype=like.dtype, device=like.device) / 1000


def carried(rotation: Float[Tensor, "B 16 3 3"], offsets: Float[Tensor, "21 3"]) -> Float[Tensor, "B 21 3"]:
    """Offsets turned by the joints that carry them."""
    return (rotation[:, list(KEYPOINT_CARRIERS)] @ offsets[..., None])[..., 0]


def landmark_points(model: HandModel, pose: Float[Tensor, "B 16 3 3"], shape: Float[Tensor, "B S"]) -> Float[Tensor, "B 21 3"]:
    """What the landmark network would call this hand's landmarks [m], about the wrist keypoint."""
    return model.keypoints(pose, shape) + carried(global_rotations(pose), landmark_offsets(pose))
