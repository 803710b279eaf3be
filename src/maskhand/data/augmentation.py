"""Crops as if they had been cut and lit a little otherwise, so that an image that comes again is not the same."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

TURN, GROWTH, SHIFT = 0.08, 0.04, 0.03
"""Standard deviations of turns [rad], of the logarithm of scales, and of shifts, crop from -1 to 1: half of what
jittered crops differ by."""
GAIN, GAMMA = 0.05, 0.1
"""Standard deviations of the colours' gains and of the logarithm of the exponent."""


def augmented(
    batch: dict[str, Tensor], amount: float = 1.0, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """The batch with its image in [0, 1], (B, 3, S, S), image and truth turned, scaled and shifted by chance; 0: as
    they are.

    Turns are about the crop's axis, so that a pose turns with its picture; scales and shifts change the camera alone.
    """
    image: Float[Tensor, "B 3 S S"] = batch["image"].permute(0, 3, 1, 2).float() / 255
    if not amount:
        return {**batch, "image": image}
    count = len(image)

    def drawn(*shape: int) -> Tensor:
        return amount * torch.randn(count, *shape, device=image.device, generator=generator)

    angle, growth, shift = TURN * drawn(), (GROWTH * drawn()).exp(), SHIFT * drawn(2)
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack([cosine, -sine, sine, cosine], -1).unflatten(-1, (2, 2))
    # What lies at p comes to lie at growth * turn p + shift.
    back = turn.mT / growth[:, None, None]
    theta = torch.cat([back, -(back @ shift[..., None])], -1)
    grid = affine_grid(theta, list(image.shape), align_corners=False)
    image = grid_sample(image, grid, padding_mode="border", align_corners=False)
    image = (image * (1 + GAIN * drawn(3, 1, 1))).clamp(0, 1) ** (GAMMA * drawn(1, 1, 1)).exp()
    about = pad(turn, (0, 1, 0, 1))
    about[:, 2, 2] = 1
    pose = batch["pose"].clone()
    pose[:, 0] = about @ pose[:, 0]
    places = growth[:, None, None] * (batch["keypoints_2d"] @ turn.mT) + shift[:, None]
    return {
        **batch,
        "image": image,
        "pose": pose,
        "keypoints_2d": places,
        "keypoints_3d": batch["keypoints_3d"] @ about.mT,
    }
