"""The paper's losses of stage 2 (Section 3.3): masked tokens, MANO parameters, 3D and 2D keypoints. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from maskhand.geometry.camera import project_in_crop, translation_from_weak


@dataclass(frozen=True, kw_only=True)
class PaperLosses:
    """Weights; the paper's own were lost in its text (docs/paper.md)."""

    mask: float = 0.25
    """Cross-entropy of masked tokens."""
    pose: float = 3.0
    """L1 of rotation matrices."""
    shape: float = 0.03
    """L1 of shape coefficients."""
    joints: float = 60.0
    """L1 of wrist-relative keypoints [m]."""
    image: float = 4.0
    """L1 of projected keypoints, crop from -1 to 1."""


def weighted_mean(values: Float[Tensor, "B *n"], weights: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean over samples of the mean over everything else; samples of weight 0 do not count."""
    per_sample = values.flatten(1).mean(1) if values.dim() > 1 else values
    return (per_sample * weights).sum() / weights.sum().clamp(min=1e-6)


def masked_cross_entropy(
    log_probabilities: Float[Tensor, "B L K"],
    tokens: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"],
    weights: Float[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Negative log likelihood of the hidden tokens, mean over them (L_mask)."""
    share = mask * weights[:, None]
    losses = -log_probabilities.gather(-1, tokens[..., None])[..., 0]
    return (losses * share).sum() / share.sum().clamp(min=1.0)


def hand_losses(
    batch: dict[str, Tensor],
    pose: Float[Tensor, "B 16 3 3"],
    shape: Float[Tensor, "B S"],
    weak_camera: Float[Tensor, "B 3"],
    keypoints: Float[Tensor, "B 21 3"],
    weights: Float[Tensor, " B"],
) -> dict[str, Tensor]:
    """L_MANO (pose, shape), L_3D (joints) and L_2D (image) of labelled samples.

    Args:
        batch: with pose, shape, keypoints_3d [m] about the wrist and keypoints_2d in the crop.
        pose, shape, weak_camera: predicted.
        keypoints: of the predicted hand [m], about the wrist.
        weights: 1 for labelled samples, 0 for the others.

    """
    flat = project_in_crop(keypoints, translation_from_weak(weak_camera))
    return {
        "pose": weighted_mean((pose - batch["pose"]).abs(), weights),
        "shape": weighted_mean((shape - batch["shape"]).abs(), weights),
        "joints": weighted_mean((keypoints - batch["keypoints_3d"]).abs(), weights),
        "image": weighted_mean((flat - batch["keypoints_2d"]).abs(), weights),
    }
