"""How far poses drawn from the tokens' distributions lie from the predicted one: the raw material of confidence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.arrays import Array, namespace
from maskhand.hand_model.layer import HandModel

DRAWS = 6
"""Poses drawn per hand."""


def spread_numbers(length: int) -> Float[np.ndarray, "L D"]:
    """The uniform numbers that draw the other poses of every hand, so that its spread does not depend on its neighbours
    in a batch: of each token one from every sixth of the distribution.
    """
    rng = np.random.default_rng(0)
    sixths = rng.permuted(np.tile(np.arange(DRAWS), (length, 1)), axis=1)
    return (sixths + rng.random((length, DRAWS))) / DRAWS


def pose_spread(
    hand_model: HandModel,
    others: Float[Array, "B D 16 3 3"],
    pose: Float[Array, "B 16 3 3"],
    shape: Float[Array, "B S"],
) -> Float[Array, "B 21"]:
    """Root mean square distance [m] of the predicted keypoints to those of drawn poses, after similarity alignment."""
    xp, (batch, draws) = namespace(pose), others.shape[:2]
    shapes = xp.repeat(shape, draws, axis=0)
    drawn = hand_model.keypoints(xp.reshape(others, (-1, 16, 3, 3)), shapes)
    own = hand_model.keypoints(pose, shape)
    distance = align_similarity(drawn, xp.repeat(own, draws, axis=0)) - xp.repeat(own, draws, axis=0)
    squares = xp.sum(distance * distance, axis=-1)
    return xp.sqrt(xp.mean(xp.reshape(squares, (batch, draws, 21)), axis=1))
