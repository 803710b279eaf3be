"""Confidence from spread."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand.inference.calibration import Calibration


def test_calibration_recovers_the_curve_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    truth = Calibration(offset=4.0, slope=2.0, trust=3.0)
    spread = np.exp(rng.normal(np.log(0.008), 0.7, 40000))
    sure = rng.uniform(0.3, 1, spread.size)
    error = np.where(rng.random(spread.size) < truth(spread, sure), 1.0, 99.0)
    found = Calibration.fit(spread, sure, error)
    assert found.offset == pytest.approx(4.0, abs=0.25) and found.slope == pytest.approx(2.0, abs=0.12)
    assert found.trust == pytest.approx(3.0, abs=0.15)
