"""Crops as a first guess of the keypoints would lay them: turned, scaled and shifted by chance."""

from __future__ import annotations

import numpy as np

from maskhand.geometry.crop import Crop


def jittered_crop(crop: Crop, rng: np.random.Generator, amount: float = 1.0, *, wild: float = 0.0) -> Crop:
    """A crop turned, scaled and shifted a little.

    Args:
        crop: where the hand is.
        rng: chance.
        amount: 0 to 1 and above; 1 is the detector's own error.
        wild: share of crops turned by up to 0.9 rad.

    """
    turn = rng.uniform(-0.9, 0.9) if rng.random() < wild else rng.normal(0, 0.15)
    side = crop.side * float(np.exp(amount * rng.normal(0, 0.08)))
    x, y = amount * rng.normal(0, 0.03, 2) * side
    return Crop((crop.centre[0] + x, crop.centre[1] + y), side, crop.angle + amount * turn, crop.mirrored)
