"""How far poses drawn from the tokens' distributions lie from the predicted one: the raw material of confidence."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.alignment import align_similarity
from maskhand.hand_model.layer import HandModel
from maskhand.tokenizer.vq_mano import VqMano

DRAWS = 6
"""Poses drawn per hand."""


@torch.no_grad()
def pose_spread(
    tokenizer: VqMano,
    hand_model: HandModel,
    probabilities: Float[Tensor, "B L K"],
    pose: Float[Tensor, "B 16 3 3"],
    shape: Float[Tensor, "B S"],
) -> Float[Tensor, "B 21"]:
    """Root mean square distance [m] of the predicted keypoints to those of drawn poses, after similarity alignment."""
    # The same uniform numbers for every hand, so that its spread does not depend on its neighbours in the batch.
    length, codes = probabilities.shape[1:]
    uniform = torch.rand(length, DRAWS, generator=torch.Generator().manual_seed(0)).to(pose.device)
    below = probabilities.cumsum(-1)  # (B, L, K)
    drawn = torch.searchsorted(below, uniform.expand(len(below), -1, -1).contiguous() * below[..., -1:])
    tokens = drawn.clamp(max=codes - 1).permute(0, 2, 1).flatten(0, 1)  # (B * DRAWS, L)
    others = hand_model.keypoints(tokenizer.decode(tokens), shape.repeat_interleave(DRAWS, 0)).unflatten(0, (-1, DRAWS))
    own = hand_model.keypoints(pose, shape)[:, None]
    others = align_similarity(others, own.expand_as(others))
    return (others - own).square().sum(-1).mean(1).sqrt()
