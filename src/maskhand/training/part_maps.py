"""Which part of the hand each cell of a map shows, and how deep: labels that teach what single keypoints cannot."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maskhand.geometry.arrays import Constant
from maskhand.hand_model.collision import BONE_ENDS, FINGER_RADII_M

PARTS = 17
"""Nothing, the palm, 15 finger bones."""
_PALM_RADIUS_M = 0.012  # four capsules that leave no gaps
_RADII = Constant([*FINGER_RADII_M, *[_PALM_RADIUS_M] * 4])
_ENDS = Constant(BONE_ENDS)
_PART = Constant([*range(2, 17), *[1] * 4], integers=True)


def part_maps(
    points: Float[Tensor, "B 21 3"], scale: Float[Tensor, " B"], x: Float[Tensor, " W"], y: Float[Tensor, " H"]
) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
    """The part nearest to the camera in each of N = H W cells, row by row, and the depth of its surface; bones are
    capsules.

    points: keypoints, x and y in the crop from -1 to 1, depth behind the wrist in that unit.
    scale: how much of the crop a metre takes.
    x, y: centres of the cells.
    """
    ends = _ENDS.on(points)
    start, stop = torch.einsum("sek,bkc->ebsc", ends, points)  # (B, 19, 3)
    radius = scale[:, None] * _RADII.on(points)  # (B, 19)
    along = stop - start
    from_x = x - start[..., :1]  # (B, 19, W)
    from_y = y - start[..., 1:2]  # (B, 19, H)
    length = along[..., :2].square().sum(-1).clamp(min=1e-8)[..., None, None]
    across, down = along[..., 0, None, None], along[..., 1, None, None]
    share = ((from_x[:, :, None] * across + from_y[..., None] * down) / length).clamp(0, 1)  # (B, 19, H, W)
    off = (from_x[:, :, None] - share * across).square() + (from_y[..., None] - share * down).square()
    bulge = radius.square()[..., None, None] - off
    depth = start[..., 2, None, None] + share * along[..., 2, None, None] - bulge.clamp(min=0).sqrt()
    nearest, bone = torch.where(bulge > 0, depth, torch.inf).flatten(2).min(1)  # (B, N)
    shown = nearest.isfinite()
    part = _PART.on(points)[bone] * shown
    return part, torch.where(shown, nearest, 0.0)
