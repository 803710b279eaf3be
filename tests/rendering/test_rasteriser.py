"""The rasteriser in NumPy and the one in Numba."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand.rendering import compiled_rasteriser as compiled
from maskhand.rendering import rasteriser


@pytest.mark.parametrize("size", [(60, 90), (240, 200)])
def test_both_rasterisers_draw_the_same(size: tuple[int, int], hand_model) -> None:
    rest = hand_model.template - hand_model.template.mean(0)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    points = (rest @ turn) * [*[4.5 * size[0]] * 2, 1.0] + [size[1] / 2, size[0] / 2, 0.5]  # partly outside
    values = np.random.default_rng(1).normal(size=(len(points), 4)).astype(np.float32)
    arguments = points.astype(np.float32), hand_model.faces.astype(np.int32), values, size
    one, other = rasteriser.rasterise(*arguments), compiled.rasterise(*arguments)
    assert (one.face >= 0).mean() > 0.05
    assert (one.face != other.face).mean() < 1e-3, "but for centres that lie on an edge"
    same = (one.face == other.face) & (one.face >= 0)
    np.testing.assert_allclose(one.depth[same], other.depth[same], atol=1e-5)
    np.testing.assert_allclose(one.values[same], other.values[same], atol=2e-3)


def test_nothing_is_drawn_of_nothing() -> None:
    fragments = rasteriser.rasterise(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 2)), (4, 5))
    assert (fragments.face == -1).all() and fragments.values.shape == (4, 5, 2) and np.isinf(fragments.depth).all()
