"""Which benchmarks are measured on joints and vertices, and noise of known length."""

from __future__ import annotations

import numpy as np
from tests import miniature

COUNT = 10
SOLID = {
    "freihand": ("evaluation", miniature.freihand, miniature.RIGHT),
    "ho3dv2": ("evaluation", miniature.ho3d, miniature.RIGHT),
    "ho3dv3": ("evaluation", lambda root, s: miniature.ho3d(root, s, suffix="jpg"), miniature.RIGHT),
    "dexycb": ("s0_test", miniature.dexycb, miniature.BOTH),
}


def shifted(shape: tuple[int, ...], length: float, seed: int = 0) -> np.ndarray:
    """Steps of exactly `length` in random directions."""
    steps = np.random.default_rng(seed).normal(size=shape)
    return length * steps / np.linalg.norm(steps, axis=-1, keepdims=True)
