"""Self-collision: a hand's bones as capsules, and how far those of different fingers, or fingertip and palm,
overlap.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Capsules of the 15 finger bones: keypoint at either end, radius by the place in the finger [m]; then four in the palm.
FINGER_BONES = [(1 + 4 * f + k, 2 + 4 * f + k) for f in range(5) for k in range(3)]
KNUCKLES = (5, 9, 13, 17)
FINGER_RADII_M = (0.0085, 0.0078, 0.0070) * 5
_RADII = np.array([*FINGER_RADII_M, *[0.008] * 4])
# Overlap that flesh absorbs; recorded poses fitted with this hand overlap more where the thumb touches.
_THUMB_ALLOWED_M, _FINGER_ALLOWED_M, _PALM_ALLOWED_M = 0.009, 0.0065, 0.0085


def _ends() -> np.ndarray:
    """(19, 2, 21): where each capsule starts and ends, as a mean of keypoints."""
    ends = np.zeros((19, 2, 21))
    for bone, (a, b) in enumerate(FINGER_BONES):
        ends[bone, 0, a] = ends[bone, 1, b] = 1
    for bone, knuckle in enumerate(KNUCKLES, start=15):
        ends[bone, 0, 0], ends[bone, 0, knuckle] = 0.7, 0.3
        ends[bone, 1, 0], ends[bone, 1, knuckle] = 0.15, 0.85
    return ends


def _pairs() -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) capsules that should keep apart, and (P,) how far [m] their axes should."""
    fingers = [(a, b) for a in range(15) for b in range(a + 1, 15) if a // 3 != b // 3 and not (a == 0 and b % 3 == 0)]
    palm = [(a, 15 + m) for a in range(15) if a % 3 == 2 or a == 1 for m in range(4)]
    allowed = [_THUMB_ALLOWED_M if a < 3 else _FINGER_ALLOWED_M for a, _ in fingers] + [_PALM_ALLOWED_M] * len(palm)
    pairs = np.array(fingers + palm)
    return pairs, _RADII[pairs].sum(1) - allowed


BONE_ENDS, (_PAIRS, _APART_M) = _ends(), _pairs()


@cache
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Float[Tensor, "4 P 21"], Float[Tensor, " P"]]:
    """Start and end of each pair's first and second capsule, as means of keypoints, and how far apart the two should
    be.
    """
    a, b = _PAIRS.T
    ends = np.stack([BONE_ENDS[a, 0], BONE_ENDS[a, 1], BONE_ENDS[b, 0], BONE_ENDS[b, 1]])
    with torch.inference_mode(mode=False):
        return torch.as_tensor(ends, dtype=dtype, device=device), torch.as_tensor(_APART_M, dtype=dtype, device=device)


def penetration_depths(keypoints: Float[Tensor, "B 21 3"]) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P 21 3"]]:
    """How far every pair of capsules overlaps beyond what flesh absorbs [m], and what of that moving each keypoint
    changes.

    Negative: they are apart by so much.
    """
    ends, apart = _constants(keypoints.device, keypoints.dtype)
    s, t = closest(*(ends @ keypoints[:, None]).unbind(1))
    share = torch.lerp(ends[0], ends[1], s[..., None]) - torch.lerp(ends[2], ends[3], t[..., None])  # (B, P, 21)
    between = share @ keypoints  # (B, P, 3) from the one axis to the other
    gap = between.norm(dim=-1)
    direction = between / gap.clamp(min=1e-9)[..., None]
    return apart - gap, -share[..., None] * direction[:, :, None]


def has_collision(keypoints: Float[Tensor, "B 21 3"]) -> Tensor:
    """Whether bones of different fingers, or a fingertip and the palm, overlap by more than flesh allows. (B,) bool"""
    return (penetration_depths(keypoints)[0] > 0).any(1)


def closest(p1: Tensor, q1: Tensor, p2: Tensor, q2: Tensor) -> tuple[Tensor, Tensor]:
    """Where on p1-q1 and p2-q2 (..., 3) they come nearest, each from 0 to 1 (Ericson, Real-Time Collision Detection,
    5.1.9).
    """
    d1, d2, r = q1 - p1, q2 - p2, p1 - p2
    a, e, f = (d1 * d1).sum(-1), (d2 * d2).sum(-1), (d2 * r).sum(-1)
    b, c = (d1 * d2).sum(-1), (d1 * r).sum(-1)
    s = ((b * f - c * e) / (a * e - b * b).clamp(min=1e-12)).clamp(0, 1)
    t = ((b * s + f) / e.clamp(min=1e-12)).clamp(0, 1)
    return ((b * t - c) / a.clamp(min=1e-12)).clamp(0, 1), t
