"""From the crop's camera to the photo's: mirrored back, turned, and put where its keypoints are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maskhand.fitting.view_fit import ViewFitConfig, fit_view
from maskhand.geometry.camera import project, project_in_crop, translation_from_weak, turn_to_ray
from maskhand.geometry.crop import Crop
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.hand_model.layer import HandModel, mirror_pose
from maskhand.inference.candidates import Reading
from maskhand.io.photos import Photo
from maskhand.types import Hand, Keypoints2D, Prediction, Trace


@torch.inference_mode()
def lift(
    hand_model: HandModel,
    photo: Photo,
    reading: Reading,
    config: ViewFitConfig = ViewFitConfig(),
    *,
    use_keypoints: bool = True,
) -> Hand:
    """The hand in the photo's camera frame.

    Args:
        hand_model: right hand.
        photo: where it was seen.
        reading: its prediction, fitted or not.
        config: what the fit of its place expects.
        use_keypoints: place it by measured keypoints; False: by the network's own projection alone.

    """
    prediction, crop, side = reading.prediction, reading.candidate.crop, reading.candidate.side
    pose, shape, points = prediction.pose, prediction.shape, prediction.keypoints
    mesh = hand_model(pose, shape)
    landmarks = landmark_positions(hand_model, pose, shape)
    measured = landmarks if points.convention == "landmark_network" else mesh.keypoints
    focal = torch.tensor([photo.focal_px], dtype=torch.float64)
    height, width = photo.pixels.shape[:2]
    principal = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    flip = torch.tensor([-1.0 if side == "left" else 1.0, 1.0, 1.0], dtype=torch.float64)
    turn = turn_to_ray(torch.tensor(crop.centre), focal, principal) @ torch.from_numpy(crop.camera_rotation())
    in_space = ((x[0].cpu().double() * flip) @ turn.T for x in (mesh.vertices, mesh.keypoints, landmarks, measured))
    vertices, keypoints, landmarks, fitted = in_space
    target, trust = _target(prediction, measured, crop, config, config.measured_share if use_keypoints else 0.0)
    settle, translation = fit_view(
        fitted, target, trust, focal, principal, pixel_sigma=config.keypoint_sigma * crop.side, config=config
    )
    turn = settle @ turn
    vertices, keypoints, landmarks = (x @ settle.T + translation for x in (vertices, keypoints, landmarks))
    own_pose = (mirror_pose(pose[0]) if side == "left" else pose[0]).cpu().double()
    own_pose = torch.cat([(turn @ own_pose[0])[None], own_pose[1:]])
    faces = hand_model.faces.cpu().numpy()
    return Hand(
        side=side,
        box=reading.candidate.detection.box.astype(np.float32),
        score=reading.candidate.detection.score,
        vertices=vertices.numpy().astype(np.float32),
        faces=faces[:, ::-1].copy() if side == "left" else faces,
        joints=keypoints.numpy().astype(np.float32),
        keypoints=project(keypoints, focal, principal).numpy().astype(np.float32),
        pose=own_pose.numpy().astype(np.float32),
        shape=shape[0].cpu().numpy(),
        confidence=reading.confidence,
        joint_confidence=reading.joint_confidence,
        focal_px=photo.focal_px,
        trace=_trace(reading, photo, landmarks.numpy()),
    )


def _target(
    prediction: Prediction, measured: Tensor, crop: Crop, config: ViewFitConfig, share: float
) -> tuple[Tensor, Tensor]:
    """Where the keypoints should come to lie in the photo [px], and trust in that: as measured and as the network drew
    them.
    """
    points = prediction.keypoints
    xy, confidence = points.xy[0].cpu().numpy(), points.confidence[0].cpu().numpy()
    drawn = project_in_crop(measured, translation_from_weak(prediction.weak_camera))[0].cpu().numpy()
    shares = (confidence > 0)[:, None] * share
    target = torch.from_numpy(crop.to_photo(shares * xy + (1 - shares) * drawn).astype(np.float64))
    trust = np.where(shares[:, 0] > 0, np.clip(confidence, config.least_trust, 1.0), config.least_trust)
    return target, torch.from_numpy(trust).double()


def _trace(reading: Reading, photo: Photo, landmarks: np.ndarray) -> Trace:
    prediction, crop = reading.prediction, reading.candidate.crop
    points = prediction.keypoints
    xy, depth = points.xy[0].cpu().numpy(), points.depth[0].cpu().numpy() * crop.side / 2
    confidence, presence = points.confidence[0].cpu().numpy(), float(points.presence[0])
    return Trace(
        detection=reading.candidate.detection,
        crop=crop,
        keypoints=Keypoints2D(crop.to_photo(xy), confidence, depth, presence, points.convention, points.source),
        landmarks=landmarks,
        disagreement=reading.disagreement,
        tokens=prediction.tokens[0].cpu().numpy(),
        token_confidence=prediction.token_confidence[0].cpu().numpy(),
        focal_source=photo.focal_source,
    )
