"""Left or right, where the detector is unsure: the hand is read as either, and the likelier reading counts.

The model knows right hands only; a left one read as a right one does not come to lie on its keypoints.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Number = TypeVar("Number", float, np.ndarray)


def side_log_odds(right: Number, error_as_right: Number, error_as_left: Number, odds_per_ratio: float) -> Number:
    """Log odds of a right hand.

    Args:
        right: the detector's probability; a number or an array.
        error_as_right, error_as_left: reprojection errors of the two readings, in one unit.
        odds_per_ratio: log odds for a factor of e between the errors.

    """
    right = np.clip(right, 1e-6, 1 - 1e-6)
    ratio = np.maximum(error_as_left, 1e-6) / np.maximum(error_as_right, 1e-6)
    return np.log(right / (1 - right)) + odds_per_ratio * np.log(ratio)
