"""From how far drawn poses spread to how likely a joint is right: a logistic curve fitted on held-out images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIGHT_WITHIN_MM = 10.0
"""A joint counts as right when, the hand aligned, it lies within this distance of the truth [ours]."""


@dataclass(frozen=True)
class Calibration:
    """Probability that a joint is right: sigmoid(offset - slope * ln(spread / mm))."""

    offset: float = 3.0
    slope: float = 1.5

    def __call__(self, spread: np.ndarray) -> np.ndarray:
        """Confidence in [0, 1] from the spread [m] of `MaskHandModel.spread`."""
        logit = self.offset - self.slope * np.log(np.maximum(spread * 1000, 1e-3))
        return (1 / (1 + np.exp(-logit))).astype(np.float32)

    @classmethod
    def fit(cls, spread: np.ndarray, error_mm: np.ndarray, *, rounds: int = 50) -> Calibration:
        """Maximum likelihood by Newton's method, from (N,) spreads [m] and errors [mm]."""
        x = np.stack([np.ones(spread.size), -np.log(np.maximum(spread.ravel() * 1000, 1e-3))], 1)
        y = (error_mm.ravel() < RIGHT_WITHIN_MM).astype(float)
        w = np.array([0.0, 1.0])
        for _ in range(rounds):
            p = 1 / (1 + np.exp(-x @ w))
            hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
            w = w + np.linalg.solve(hessian, x.T @ (y - p))
        return cls(float(w[0]), float(w[1]))
