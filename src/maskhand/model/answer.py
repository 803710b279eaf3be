"""What becomes of the network's answer before it is placed in a photo: looks merged, the pose nudged to its keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.camera import CROP_FOCAL, project_in_crop, translation_from_weak, weak_from_translation
from maskhand.geometry.crop import Crop
from maskhand.geometry.rotations import nearest_rotation
from maskhand.hand_model.fitting import EXPECTED_TURNS, fit_keypoints
from maskhand.hand_model.landmarks import landmark_offsets, landmark_points
from maskhand.hand_model.layer import HandModel
from maskhand.records import Prediction

AGREEMENT = 0.1
"""Mean distance of the drawn hand to its keypoints (crop from -1 to 1) from which on they are trusted less [ours]."""
TRUST, GIVEN_TRUST = 4, 2
"""Power of a keypoint's confidence by which the fit trusts it: one of the model's own, and somebody else's [ours]."""
FIT_ODDS = 10.0
"""What a factor of e in that distance says of the side, in log odds; measured by `maskhand evaluate sides` [ours]."""
COMPARED = 64
"""Hypotheses that each is compared with to rank them [ours]."""
LOOK_TURN, LOOK_GROWTH = 0.2, 0.1
"""How far the crops of further looks are turned [rad] and grown or shrunk from the first [ours]."""


def refined(
    hand_model: HandModel,
    prediction: Prediction,
    *,
    landmarks: bool = True,
    expected_turns: Float[Tensor, "7 3"] = EXPECTED_TURNS,
) -> Prediction:
    """The prediction, its pose and camera nudged towards the keypoints it was made from (`fit_keypoints`).

    Where the network drew the hand far from its keypoints they are more likely wrong than it is, and count less.

    Args:
        hand_model: right hand.
        prediction: as the network gives it.
        landmarks: the keypoints are the landmark network's places, which lie a little off our hand's own.
        expected_turns: as for `fit_keypoints`.

    """
    points = prediction.keypoints
    translation = translation_from_weak(prediction.weak_camera)
    apart = off_keypoints(hand_model, prediction, landmarks=landmarks)
    agreement = (AGREEMENT / apart.clamp(min=AGREEMENT)).square()
    pose, translation = fit_keypoints(
        hand_model,
        prediction.pose,
        prediction.shape,
        translation,
        points[..., :2],
        points[..., 2] ** (TRUST if landmarks else GIVEN_TRUST) * agreement[:, None],
        depth=points[..., 3],
        depth_trust=None if prediction.depth_certainty is None else prediction.depth_certainty * agreement[:, None],
        offsets=landmark_offsets(points) if landmarks else None,
        spread=prediction.spread,
        focal=CROP_FOCAL,
        expected_turns=expected_turns,
    )
    return replace(prediction, pose=pose, weak_camera=weak_from_translation(translation))


def off_keypoints(hand_model: HandModel, prediction: Prediction, *, landmarks: bool = True) -> Float[Tensor, " B"]:
    """Mean distance of the drawn hand to the keypoints it was made from, crop from -1 to 1."""
    points = prediction.keypoints
    drawn = (
        landmark_points(hand_model, prediction.pose, prediction.shape)
        if landmarks
        else hand_model.keypoints(prediction.pose, prediction.shape)
    )
    known = (points[..., 2] > 0).to(points)
    flat = project_in_crop(drawn, translation_from_weak(prediction.weak_camera))
    return ((flat - points[..., :2]).norm(dim=-1) * known).sum(1) / known.sum(1).clamp(min=1)


def side_odds(right: Float[Tensor, " B"], as_right: Float[Tensor, " B"], as_left: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Log odds of a right hand, from the detector's probability and how far the readings as either side lie off their keypoints.

    The model knows right hands only; a left one read as a right one does not come to lie on its keypoints [ours].
    """
    return right.logit(eps=1e-6) + FIT_ODDS * (as_left / as_right.clamp(min=1e-6)).clamp(min=1e-6).log()


def looks_around(crop: Crop, count: int) -> list[Crop]:
    """The crop and `count` - 1 others around it, turned and scaled a little, always the same ones."""
    looks = [crop]
    for k in range(1, count):
        turn = 2 * np.pi * k / max(1, count - 1)
        side = crop.side * float(np.exp(LOOK_GROWTH * np.cos(turn)))
        looks.append(replace(crop, side=side, angle=crop.angle + LOOK_TURN * float(np.sin(turn + 0.5))))
    return looks


@torch.inference_mode()
def apart_from_others(keypoints: Float[Tensor, "N 21 3"]) -> Float[Tensor, " N"]:
    """How far each of several poses of one hand lies from the others [m], aligned; of many, from the first `COMPARED`."""
    others = keypoints[:COMPARED]
    apart = []
    for own in keypoints.split(COMPARED):
        pairs = own[:, None].expand(-1, len(others), -1, -1).flatten(0, 1)
        aligned = align_similarity(others.repeat(len(own), 1, 1), pairs)
        apart.append((aligned - pairs).norm(dim=-1).mean(1).unflatten(0, (len(own), -1)).mean(1))
    return torch.cat(apart)


@torch.inference_mode()
def merged(prediction: Prediction, crops: list[Crop], looks: int) -> Prediction:
    """One answer per hand from `looks` answers each, in the first one's crop: mean rotations, shapes, scales and keypoints.

    The tokens and their confidence are the first look's. Averaging over looks is this project's addition.
    """
    first = [crops[k // looks * looks] for k in range(len(crops))]
    pose, scale, moved = prediction.pose.clone(), prediction.weak_camera[:, 0].clone(), prediction.keypoints.clone()
    for k, (crop, base) in enumerate(zip(crops, first, strict=True)):
        flip = np.diag([-1.0 if crop.mirrored else 1.0, 1.0, 1.0])
        turn = flip @ base.camera_rotation().T @ crop.camera_rotation() @ flip
        pose[k, 0] = torch.as_tensor(turn, dtype=pose.dtype, device=pose.device) @ pose[k, 0]
        scale[k] *= crop.side / base.side
        place = base.to_crop(crop.to_photo(moved[k, :, :2].cpu().numpy().astype(np.float64)))
        moved[k, :, :2] = torch.as_tensor(place, dtype=moved.dtype, device=moved.device)
        moved[k, :, 3] *= crop.side / base.side

    def mean(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (-1, looks)).mean(1)

    camera = prediction.weak_camera[::looks].clone()
    camera[:, 0] = mean(scale)
    return Prediction(
        pose=nearest_rotation(mean(pose)),
        shape=mean(prediction.shape),
        weak_camera=camera,
        keypoints=mean(moved),
        tokens=prediction.tokens[::looks],
        token_confidence=prediction.token_confidence[::looks],
        spread=mean(prediction.spread),
        head_confidence=mean(prediction.head_confidence),
        apart=mean(prediction.apart),
        depth_certainty=None if prediction.depth_certainty is None else mean(prediction.depth_certainty),
    )
