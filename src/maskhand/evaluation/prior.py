"""How well the pose prior covers recorded hands: how far each recorded pose is from the nearest of many drawn ones."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.evaluation.tokenizer import HELD_OUT_SEED
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.pose_prior import PosePrior

DRAWN_SEED = 20_001


@torch.no_grad()
def prior_coverage(
    hand_model: HandModel, recorded: Float[Tensor, "N 16 3 3"], *, drawn: int = 20_000
) -> dict[str, float]:
    """Distances [mm] of recorded poses to the nearest drawn one, beside those of other poses of the prior.

    Mean over the 21 joints, the wrist unturned, mean shape. A prior that covers what people do leaves recorded poses no
    farther from its samples than its own held-out samples are. The fingers one by one say where it does not.
    """
    prior = PosePrior(hand_model)
    bank = prior.sample(drawn, np.random.default_rng(DRAWN_SEED))
    own = prior.sample(max(200, len(recorded)), np.random.default_rng(HELD_OUT_SEED))
    bank_points, own_points, real_points = (_unturned(hand_model, pose) for pose in (bank, own, recorded))
    result = {
        "recorded_nearest_mm": _nearest(real_points, bank_points).mean().item(),
        "recorded_nearest_worst_tenth_mm": _nearest(real_points, bank_points).quantile(0.9).item(),
        "held_out_nearest_mm": _nearest(own_points, bank_points).mean().item(),
        "held_out_nearest_worst_tenth_mm": _nearest(own_points, bank_points).quantile(0.9).item(),
    }
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "little")):
        part = slice(1 + 4 * finger, 5 + 4 * finger)
        ratio = (
            _nearest(real_points[:, part], bank_points[:, part]).mean()
            / _nearest(own_points[:, part], bank_points[:, part]).mean()
        )
        result[f"{name}_recorded_over_held_out"] = ratio.item()
    return result


def _unturned(hand_model: HandModel, pose: Float[Tensor, "B 16 3 3"]) -> Float[Tensor, "B 21 3"]:
    pose = torch.cat([torch.eye(3).expand(len(pose), 1, 3, 3), pose[:, 1:]], 1)
    return hand_model.keypoints(pose, pose.new_zeros(len(pose), hand_model.shape_count))


def _nearest(points: Float[Tensor, "N k 3"], bank: Float[Tensor, "M k 3"]) -> Float[Tensor, " N"]:
    """Distance [mm] of each hand to the nearest of the bank: mean over the points."""
    return torch.stack([1000 * (bank - one).norm(dim=-1).mean(1).min() for one in points])
