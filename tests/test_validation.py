"""What users hand in."""

from __future__ import annotations

import numpy as np

from maskhand.validation import checked_keypoints


def test_unknown_keypoints_may_hold_anything() -> None:
    given = np.ones((21, 3))
    given[4], given[5] = (np.inf, -np.inf, 0), np.nan
    known = checked_keypoints(given)
    assert known.shape == (1, 21, 3) and (known[0, 4:6] == 0).all() and (known[0, 6:] == 1).all()
