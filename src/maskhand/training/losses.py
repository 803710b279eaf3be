"""Losses of stage 2 (paper Section 3.3): masked tokens, MANO parameters, 3D and 2D keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The paper's own weights were lost in its text; all of these are ours."""

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
    found: float = 4.0
    """L1 of the model's own 2D keypoints, crop from -1 to 1."""
    heat: float = 0.1
    """Cross-entropy of their maps."""
    found_depth: float = 1.0
    """L1 of their depth, in the same unit."""
    photo_depth: float = 0.3
    """How much an unlabelled photo, whose depth is the teacher's, counts in that [ours]."""
    bones: float = 0.0
    """L1 of how much deeper each of its keypoints lies than the one before it along the finger, in the same unit [ours]."""
    certainty: float = 0.0
    """How badly the head foretells how far off its depths are; renders only [ours]."""
    early: float = 0.0
    """How much all of these count for what every hourglass but the last leaves (Newell et al., ECCV 2016)."""
    parts: float = 0.0
    """Cross-entropy of the part of the hand that each cell of the keypoint head's map shows; renders only [ours]."""
    parts_depth: float = 0.0
    """L1 of that part's depth, crop from -1 to 1 [ours]."""
    fitted: float = 0.0
    """L1 of keypoints after the fit to the 2D keypoints, where no token was shown; photos' against the teacher's, after
    scaling [m]. 0 leaves the fit out of training, as until 0.10.0; it learns through the fit otherwise [ours]."""
    cuts: float = 0.0
    """How deep bones cut each other, in all, before the fit and after it [m] [ours]."""
    teacher: float = 20.0
    """L1 of keypoints of unlabelled photos against the teacher's, after scaling [m]."""
    teacher_image: float = 3.0
    """L1 of projected keypoints of unlabelled photos."""
    prior: float = 0.01
    """Squared shape coefficients of unlabelled photos."""


def weighted_mean(values: Float[Tensor, "B *n"], weights: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Mean over samples of the mean over everything else; samples of weight 0 do not count."""
    per_sample = values.flatten(1).mean(1) if values.dim() > 1 else values
    return (per_sample * weights).sum() / weights.sum().clamp(min=1e-6)


def masked_cross_entropy(
    log_probabilities: Float[Tensor, "B L K"], tokens: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"], weights: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Negative log likelihood of the hidden tokens, mean over them."""
    share = mask * weights[:, None]
    losses = -log_probabilities.gather(-1, tokens[..., None])[..., 0]
    return (losses * share).sum() / share.sum().clamp(min=1.0)


def scaled_to(points: Float[Tensor, "B n 3"], target: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
    """Wrist-relative points scaled about the wrist to fit `target` best; the scale itself gets no gradient."""
    with torch.no_grad():
        scale = (points * target).sum((1, 2)) / points.square().sum((1, 2)).clamp(min=1e-9)
    return points * scale[:, None, None]
