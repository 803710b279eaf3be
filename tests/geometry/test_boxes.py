"""Boxes."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand.geometry.boxes import iou


@pytest.mark.parametrize(
    ("box", "others", "expected"),
    [
        ([0, 0, 2, 2], [[0, 0, 2, 2]], [1.0]),
        ([0, 0, 2, 2], [[1, 0, 3, 2], [5, 5, 6, 6]], [1 / 3, 0.0]),
        ([0, 0, 0, 0], [[0, 0, 0, 0]], [0.0]),
    ],
)
def test_overlap_of_boxes(box, others, expected) -> None:
    np.testing.assert_allclose(iou(np.array(box, float), np.array(others, float)), expected)
