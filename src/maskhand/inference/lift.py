"""From the crop's camera to the photo's: mirrored back, turned, and put where its keypoints are."""

from __future__ import annotations

import numpy as np

from maskhand.fitting.view_fit import ViewFitConfig, fit_view
from maskhand.geometry.arrays import to_numpy
from maskhand.geometry.camera import project, project_in_crop, translation_from_weak, turn_to_ray
from maskhand.geometry.crop import Crop
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.hand_model.layer import HandModel, mirror_pose
from maskhand.inference.candidates import Reading
from maskhand.inference.selection import SelectionConfig
from maskhand.io.photos import Photo
from maskhand.types import Hand, Keypoints2D, Prediction, Trace

_SEEN = 0.5
"""Presence from which on the landmark network sees a hand."""


def lift(
    hand_model: HandModel,
    photo: Photo,
    reading: Reading,
    config: ViewFitConfig = ViewFitConfig(),
    selection: SelectionConfig = SelectionConfig(),
    *,
    use_keypoints: bool = True,
) -> Hand:
    """The hand in the photo's camera frame.

    Args:
        hand_model: right hand.
        photo: where it was seen.
        reading: its prediction, fitted or not.
        config: what the fit of its place expects.
        selection: from when on a reading is doubted.
        use_keypoints: place it by measured keypoints; False: by the network's own projection alone.

    """
    prediction, crop, side = reading.prediction.map(to_numpy), reading.candidate.crop, reading.candidate.side
    pose, shape, points = prediction.pose, prediction.shape, prediction.keypoints
    mesh = hand_model(pose, shape)
    landmarks = landmark_positions(hand_model, pose, shape)
    measured = landmarks if points.convention == "landmark_network" else mesh.keypoints
    height, width = photo.pixels.shape[:2]
    focal, principal = np.array([photo.focal_px]), np.array([width / 2, height / 2])
    flip = np.array([-1.0 if side == "left" else 1.0, 1.0, 1.0])
    turn = turn_to_ray(np.array(crop.centre, np.float64), focal, principal) @ crop.camera_rotation()
    in_space = ((x[0].astype(np.float64) * flip) @ turn.T for x in (mesh.vertices, mesh.keypoints, landmarks, measured))
    vertices, keypoints, landmarks, fitted = in_space
    target, trust = _target(prediction, measured, crop, config, config.measured_share if use_keypoints else 0.0)
    settle, translation = fit_view(
        fitted, target, trust, focal, principal, pixel_sigma=config.keypoint_sigma * crop.side, config=config
    )
    turn = settle @ turn
    vertices, keypoints, landmarks = (x @ settle.T + translation for x in (vertices, keypoints, landmarks))
    own_pose = (mirror_pose(pose[0]) if side == "left" else pose[0]).astype(np.float64)
    own_pose = np.concatenate([(turn @ own_pose[0])[None], own_pose[1:]])
    faces = hand_model.faces
    return Hand(
        side=side,
        box=reading.candidate.detection.box.astype(np.float32),
        score=reading.candidate.detection.score,
        vertices=vertices.astype(np.float32),
        faces=faces[:, ::-1].copy() if side == "left" else faces,
        joints=keypoints.astype(np.float32),
        keypoints=project(keypoints, focal, principal).astype(np.float32),
        pose=own_pose.astype(np.float32),
        shape=shape[0],
        confidence=reading.confidence,
        joint_confidence=reading.joint_confidence,
        focal_px=photo.focal_px,
        doubt=_doubt(reading, selection),
        trace=_trace(reading, prediction, photo, landmarks),
    )


def _doubt(reading: Reading, config: SelectionConfig) -> str:
    if reading.candidate.detection.points.source == "user":
        return ""
    if reading.disagreement > config.gross:
        return "the two keypoint networks see different hands here"
    if float(to_numpy(reading.prediction.keypoints.presence)[0]) < _SEEN:
        return "one of the two keypoint networks sees no hand here"
    return ""


def _target(
    prediction: Prediction, measured: np.ndarray, crop: Crop, config: ViewFitConfig, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the keypoints should come to lie in the photo [px], and trust in that: as measured and as the network drew
    them.
    """
    xy, confidence = prediction.keypoints.xy[0], prediction.keypoints.confidence[0]
    drawn = project_in_crop(measured, translation_from_weak(prediction.weak_camera))[0]
    shares = (confidence > 0)[:, None] * share
    target = crop.to_photo(shares * xy + (1 - shares) * drawn).astype(np.float64)
    trust = np.where(shares[:, 0] > 0, np.clip(confidence, config.least_trust, 1.0), config.least_trust)
    return target, trust.astype(np.float64)


def _trace(reading: Reading, prediction: Prediction, photo: Photo, landmarks: np.ndarray) -> Trace:
    crop, points = reading.candidate.crop, prediction.keypoints
    xy, depth, confidence = crop.to_photo(points.xy[0]), points.depth[0] * crop.side / 2, points.confidence[0]
    return Trace(
        detection=reading.candidate.detection,
        crop=crop,
        keypoints=Keypoints2D(xy, confidence, depth, float(points.presence[0]), points.convention, points.source),
        landmarks=landmarks,
        disagreement=reading.disagreement,
        tokens=prediction.tokens[0],
        token_confidence=prediction.token_confidence[0],
        focal_source=photo.focal_source,
    )
