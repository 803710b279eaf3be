"""Two definitions of the 21 joints: our hand model's, and the landmark network's, some millimetres beside it.

The landmark network's fingertips lie deeper in the finger, its knuckles nearer to the palm. The offsets were measured
by `scripts/measure_landmark_offsets.py` on synthetic images, where our keypoints are known.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from maskhand.geometry.arrays import Array, Constant, namespace
from maskhand.hand_model.layer import HandModel, global_rotations
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS

LANDMARK_OFFSETS_MM = (
    (-2.6, 0.4, -1.1),
    (5.5, -3.5, 3.9),
    (1.4, -1.1, -0.3),
    (0.5, 0.0, -4.0),
    (6.1, 0.6, -5.9),
    (0.0, -1.3, -2.3),
    (-1.3, -3.2, -0.8),
    (-1.2, -2.4, -0.2),
    (6.4, -0.8, -0.8),
    (3.3, -4.2, 0.2),
    (1.1, -4.6, 1.0),
    (1.8, -4.4, 1.0),
    (7.3, -1.5, 1.2),
    (1.2, -4.2, -0.2),
    (-0.4, -3.6, 0.2),
    (-1.1, -4.3, 0.3),
    (6.2, -1.8, 1.8),
    (1.3, -3.2, 0.6),
    (1.1, -3.9, 1.3),
    (-0.4, -3.4, 0.0),
    (5.1, -1.2, 2.4),
)
"""(21, 3) in the axes of the joint that carries each keypoint (`KEYPOINT_CARRIERS`)."""
_OFFSETS_M = Constant(np.array(LANDMARK_OFFSETS_MM) / 1000)
_CARRIERS = Constant(KEYPOINT_CARRIERS, integers=True)


def landmark_offsets(other: Array) -> Float[Array, "21 3"]:
    """The offsets in metres, as an array of the other's kind, type and device."""
    return _OFFSETS_M.on(other)


def carried(rotation: Float[Array, "B 16 3 3"], offsets: Float[Array, "21 3"]) -> Float[Array, "B 21 3"]:
    """Offsets turned by the joints that carry them."""
    carriers = namespace(rotation).take(rotation, _CARRIERS.on(rotation), axis=1)
    return (carriers @ offsets[..., None])[..., 0]


def landmark_positions(
    model: HandModel, pose: Float[Array, "B 16 3 3"], shape: Float[Array, "B S"]
) -> Float[Array, "B 21 3"]:
    """What the landmark network would call this hand's landmarks [m], about the wrist keypoint."""
    return model.keypoints(pose, shape) + carried(global_rotations(pose), landmark_offsets(pose))
