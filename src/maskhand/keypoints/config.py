"""Sizes of the keypoint head, this project's addition."""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class KeypointHeadConfig:
    """Sizes of the head, and how its confidence follows from the width of a map."""

    width: int = 0
    """Channels; 0: no head, the 2D pose comes from outside as in the paper."""
    hourglasses: int = 0
    fine_blocks: int = 0
    """Further convolution blocks on the finest map."""
    sigma: float = 0.1
    """Standard deviation of the maps that training asks for, crop from -1 to 1."""
    confidence_sigma: float = 0.1
    """Standard deviation beyond `sigma` at which confidence has fallen to 1/sqrt(2), crop from -1 to 1."""
    depth_certainty: bool = False
    """Predict how exact each depth is, for the fit."""
    context: bool = False
    """Add the head's last map to the pyramid's level of scale 2, which the synthesizer reads."""

    def __post_init__(self) -> None:
        if self.width < 0 or self.width % 8:
            raise ConfigError(f"keypoints.width is {self.width}; it must be 0 or a multiple of 8")
        for name in ("hourglasses", "fine_blocks"):
            if getattr(self, name) < 0:
                raise ConfigError(f"keypoints.{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("sigma", "confidence_sigma"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"keypoints.{name} is {getattr(self, name)}; it must be above 0")
        if self.context and not self.width:
            raise ConfigError("keypoints.context needs keypoints.width above 0")
