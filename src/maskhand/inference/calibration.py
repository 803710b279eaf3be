"""From how far drawn poses spread, and how sure the keypoint head is, to how likely a joint is right: a logistic curve
fitted on held-out images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIGHT_WITHIN_MM = 10.0
"""A joint counts as right when, the hand aligned, it lies within this distance of the truth."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Probability that a joint is right: sigmoid(offset - slope * ln(spread / mm) + trust * ln(head confidence))."""

    offset: float = 3.0
    slope: float = 1.5
    trust: float = 0.0

    def __call__(self, spread: np.ndarray, heatmap_confidence: np.ndarray) -> np.ndarray:
        """Confidence in [0, 1] from `Prediction.spread` [m] and `Prediction.heatmap_confidence`."""
        logit = _inputs(spread, heatmap_confidence) @ [self.offset, self.slope, self.trust]
        return (0.5 * (1 + np.tanh(logit / 2))).astype(np.float32)

    @classmethod
    def fit(
        cls, spread: np.ndarray, heatmap_confidence: np.ndarray, error_mm: np.ndarray, *, rounds: int = 50
    ) -> Calibration:
        """Maximum likelihood by Newton's method, from (N,) spreads [m], the head's confidences and errors [mm]."""
        x = _inputs(spread.ravel(), heatmap_confidence.ravel())
        y = np.where(error_mm.ravel() < RIGHT_WITHIN_MM, 1.0, -1.0)

        def loss(w: np.ndarray) -> float:
            return float(np.logaddexp(0, -y * (x @ w)).mean() + 1e-6 * w @ w)

        w = np.zeros(3)
        for _ in range(rounds):
            p = 0.5 * (1 + np.tanh(x @ w / 2))
            gradient = x.T @ (p - (y + 1) / 2) / len(x) + 2e-6 * w
            hessian = (x * (p * (1 - p))[:, None]).T @ x / len(x) + 2e-6 * np.eye(3)
            direction = np.linalg.solve(hessian, gradient)
            step = 1.0
            while step > 1e-6 and loss(w - step * direction) > loss(w):
                step /= 2
            w = w - step * direction
        w = w.clip(-50, 50)
        return cls(**dict(zip(("offset", "slope", "trust"), w.tolist(), strict=True)))


def _inputs(spread: np.ndarray, heatmap_confidence: np.ndarray) -> np.ndarray:
    """(..., 3) what the offset, the slope and the trust are multiplied by."""
    narrow, sure = -np.log(np.maximum(spread * 1000, 1e-3)), np.log(np.maximum(heatmap_confidence, 1e-3))
    return np.stack([np.ones_like(narrow), narrow, sure], -1)
