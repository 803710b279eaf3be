"""From encoded crops to a prediction: keypoints fused, tokens unmasked round by round, decoded; by any engine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from maskhand.geometry.arrays import Array, namespace
from maskhand.hand_model.layer import HandModel
from maskhand.keypoints.fusion import FusionConfig, fuse_keypoints, keypoint_disagreement
from maskhand.model.unmasking import Sampling, Unmasked, unmask
from maskhand.runtime.engine import HandEngine
from maskhand.runtime.spread import pose_spread, spread_numbers
from maskhand.types import Keypoints2D, Prediction


def reconstruct(
    engine: HandEngine,
    encoded: dict[str, Array],
    keypoints: Keypoints2D,
    hand_model: HandModel,
    *,
    steps: int = 1,
    sampling: Sampling = Sampling(),
    rng: np.random.Generator | None = None,
    fusion: FusionConfig = FusionConfig(),
    draws: int = 1,
) -> Prediction:
    """One hand per crop, its surest tokens first; or several, drawn one by one.

    Args:
        engine: runs the networks.
        encoded: what its graph `encode` makes of the crops.
        keypoints: in the crops, the landmark network's or a user's.
        hand_model: right hand, for the spread of keypoints.
        steps: rounds of unmasking.
        sampling: how codes are chosen.
        rng: chance, where they are drawn.
        fusion: how the two networks' keypoints are fused.
        draws: hands per crop, one crop's after another's; the image is encoded once.

    """
    xp = namespace(keypoints.xy)
    pose_2d, disagreement, certainty = keypoints, xp.full_like(keypoints.presence, xp.nan), None
    confidence = xp.ones_like(keypoints.confidence)
    if "heat_xy" in encoded:
        confidence = encoded["heat_confidence"]
        if keypoints.source != "user":
            nowhere = xp.full_like(keypoints.presence, xp.nan)
            heatmaps = Keypoints2D(
                encoded["heat_xy"], confidence, encoded["heat_depth"], nowhere, "landmark_network", "heatmaps"
            )
            pose_2d = fuse_keypoints(heatmaps, keypoints, fusion)
            disagreement = keypoint_disagreement(heatmaps.xy, keypoints.xy)
            certainty = encoded.get("heat_certainty")
    unmasked = _unmasked(engine, encoded, pose_2d, steps=steps, sampling=sampling, rng=rng, draws=draws)

    def each(array: Array) -> Array:
        return array if draws == 1 or array is None else xp.repeat(array, draws, axis=0)

    pose, others = _poses(engine, unmasked)
    shape = each(encoded["shape"])
    return Prediction(
        pose=pose,
        shape=shape,
        weak_camera=each(encoded["weak_camera"]),
        keypoints=pose_2d.map(each),
        tokens=unmasked.tokens,
        token_confidence=unmasked.confidence,
        spread=pose_spread(hand_model, others, pose, shape),
        heatmap_confidence=each(confidence),
        disagreement=each(disagreement),
        depth_certainty=each(certainty),
        round_confidence=unmasked.by_round,
    )


def _unmasked(
    engine: HandEngine,
    encoded: dict[str, Array],
    pose_2d: Keypoints2D,
    *,
    steps: int,
    sampling: Sampling,
    rng: np.random.Generator | None,
    draws: int,
) -> Unmasked:
    xp, batch, length = namespace(pose_2d.xy), pose_2d.xy.shape[0], engine.tokenizer.token_count
    inputs = {name: values for name, values in encoded.items() if name.startswith("values_")}
    inputs |= {"xy": pose_2d.xy, "confidence": pose_2d.confidence, "depth": pose_2d.depth}
    repeated: dict[str, Array] = {}

    def predict(embedding: Array, mask: Array) -> Array:
        # All draws of a crop begin alike: the first round runs once for them.
        if draws > 1 and not repeated:
            found = engine.run("round", **inputs, embedding=embedding[::draws], mask=mask[::draws])
            repeated.update({name: xp.repeat(values, draws, axis=0) for name, values in inputs.items()})
            return xp.repeat(found["probabilities"], draws, axis=0)
        return engine.run("round", **(repeated or inputs), embedding=embedding, mask=mask)["probabilities"]

    return unmask(
        predict,
        lambda probabilities: engine.run("mean", probabilities=probabilities)["embedding"],
        engine.codes,
        batch=batch * draws,
        length=length,
        steps=steps,
        sampling=sampling,
        rng=rng,
        uniform=spread_numbers(length),
    )


def _poses(engine: HandEngine, unmasked: Unmasked) -> tuple[Float[Array, "B 16 3 3"], Float[Array, "B D 16 3 3"]]:
    """The pose of each sequence, and those drawn in its place, decoded in one batch."""
    xp = namespace(unmasked.tokens)
    batch, length, draws, dim = unmasked.others.shape
    others = xp.reshape(xp.permute_dims(unmasked.others, (0, 2, 1, 3)), (-1, length, dim))
    poses = engine.run("pose", embedding=xp.concat([unmasked.code, others], axis=0))["pose"]
    return poses[:batch], xp.reshape(poses[batch:], (batch, draws, 16, 3, 3))
