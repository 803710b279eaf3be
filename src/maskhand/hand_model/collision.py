"""Self-collision: a hand's bones as capsules, and how far those of different fingers, or fingertip and palm,
overlap.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from maskhand.geometry.arrays import Array, Constant, namespace

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


BONE_ENDS, (_PAIRS, _APART) = _ends(), _pairs()
_APART_M = Constant(_APART)
_STARTS, _WAYS = (
    Constant(ends[_PAIRS].transpose(1, 0, 2)) for ends in (BONE_ENDS[:, 0], np.diff(BONE_ENDS, axis=1)[:, 0])
)
"""Where the first and second capsule of each pair starts, and the way to its end, as means of keypoints: (2, P, 21)."""


def penetration_depths(keypoints: Float[Array, "B 21 3"]) -> tuple[Float[Array, "B P"], Float[Array, "B P 21 3"]]:
    """How far every pair of capsules overlaps beyond what flesh absorbs [m], and what of that moving each keypoint
    changes.

    Negative: they are apart by so much.
    """
    xp = namespace(keypoints)
    (p1, p2), (way1, way2) = _STARTS.on(keypoints), _WAYS.on(keypoints)  # (P, 21) each
    starts = p1 @ keypoints, p2 @ keypoints
    s, t = closest(starts[0], starts[0] + way1 @ keypoints, starts[1], starts[1] + way2 @ keypoints)
    share = p1 + s[..., None] * way1 - p2 - t[..., None] * way2  # (B, P, 21)
    between = share @ keypoints  # (B, P, 3) from the one axis to the other
    gap = xp.linalg.vector_norm(between, axis=-1)
    direction = between / xp.clip(gap, 1e-9, None)[..., None]
    return _APART_M.on(keypoints) - gap, -share[..., None] * direction[:, :, None]


def has_collision(keypoints: Float[Array, "B 21 3"]) -> Array:
    """Whether bones of different fingers, or a fingertip and the palm, overlap by more than flesh allows. (B,) bool"""
    return namespace(keypoints).any(penetration_depths(keypoints)[0] > 0, axis=1)


def closest(p1: Array, q1: Array, p2: Array, q2: Array) -> tuple[Array, Array]:
    """Where on p1-q1 and p2-q2 (..., 3) they come nearest, each from 0 to 1 (Ericson, Real-Time Collision Detection,
    5.1.9).
    """
    xp = namespace(p1)

    def dot(x: Array, y: Array) -> Array:
        return xp.sum(x * y, axis=-1)

    d1, d2, r = q1 - p1, q2 - p2, p1 - p2
    a, e, f, b, c = dot(d1, d1), dot(d2, d2), dot(d2, r), dot(d1, d2), dot(d1, r)
    s = xp.clip((b * f - c * e) / xp.clip(a * e - b * b, 1e-12, None), 0, 1)
    t = xp.clip((b * s + f) / xp.clip(e, 1e-12, None), 0, 1)
    return xp.clip((b * t - c) / xp.clip(a, 1e-12, None), 0, 1), t
