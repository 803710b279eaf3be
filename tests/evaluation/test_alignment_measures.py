"""Aligned and plain errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskhand.evaluation.metrics import aligned_point_error_mm, mean_point_error_mm


def test_a_known_shift_is_measured_to_the_millimetre() -> None:
    points = torch.randn(3, 21, 3, dtype=torch.float64)
    shifted = points + torch.tensor([0.003, 0.004, 0.0])
    torch.testing.assert_close(mean_point_error_mm(points, shifted), torch.full((3,), 5.0).double())
    assert aligned_point_error_mm(points, shifted).max() < 1e-9


def test_alignment_agrees_with_scipys_procrustes() -> None:
    spatial = pytest.importorskip("scipy.spatial")
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(size=(2, 21, 3))
        ours = aligned_point_error_mm(torch.from_numpy(a), torch.from_numpy(b), allow_reflection=True).item()
        standard, fitted, _ = spatial.procrustes(b, a)
        scale = np.linalg.norm(b - b.mean(0))
        assert ours == pytest.approx(1000 * scale * np.linalg.norm(standard - fitted, axis=1).mean(), rel=1e-9)
