"""The network's prediction fitted to the 2D keypoints it was made from."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float

from maskhand.fitting.keypoint_fit import FitConfig, fit_keypoints
from maskhand.geometry.arrays import Array, namespace
from maskhand.geometry.camera import CROP_FOCAL, project_in_crop, translation_from_weak, weak_from_translation
from maskhand.hand_model.joint_conventions import landmark_offsets, landmark_positions
from maskhand.hand_model.layer import HandModel
from maskhand.types import Prediction


def fit_prediction(
    hand_model: HandModel,
    prediction: Prediction,
    config: FitConfig = FitConfig(),
    *,
    expected_turns: Float[Array, "7 3"] | None = None,
) -> Prediction:
    """The prediction, its pose and camera moved towards its keypoints (`fit_keypoints`).

    Args:
        hand_model: right hand.
        prediction: as the network gives it.
        config: what the fit expects.
        expected_turns: as for `fit_keypoints`.

    """
    points = prediction.keypoints
    power = config.user_confidence_power if points.source == "user" else config.confidence_power
    certainty = prediction.depth_certainty if config.use_depth_certainty else None
    pose, translation = fit_keypoints(
        hand_model,
        prediction.pose,
        prediction.shape,
        translation_from_weak(prediction.weak_camera),
        points.xy,
        points.confidence**power,
        depth=points.depth,
        depth_trust=certainty,
        offsets=landmark_offsets(points.xy) if points.convention == "landmark_network" else None,
        spread=prediction.spread,
        focal=CROP_FOCAL,
        config=config,
        expected_turns=expected_turns,
    )
    return replace(prediction, pose=pose, weak_camera=weak_from_translation(translation))


def reprojection_error(hand_model: HandModel, prediction: Prediction) -> Float[Array, " B"]:
    """Mean distance of the predicted hand to the keypoints it was made from, crop from -1 to 1."""
    points = prediction.keypoints
    xp = namespace(points.xy)
    positions = landmark_positions if points.convention == "landmark_network" else HandModel.keypoints
    drawn = positions(hand_model, prediction.pose, prediction.shape)
    known = xp.astype(points.confidence > 0, points.xy.dtype)
    flat = project_in_crop(drawn, translation_from_weak(prediction.weak_camera))
    distance = xp.linalg.vector_norm(flat - points.xy, axis=-1)
    return xp.sum(distance * known, axis=1) / xp.clip(xp.sum(known, axis=1), 1, None)
