"""How long and how fast to train: settings, and the learning rate at a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from maskhand.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast to train."""

    steps: int
    batch_size: int
    learning_rate: float
    final_rate: float = 0.02
    """Learning rate at the end, as a share of the first one (cosine decay)."""
    warmup_steps: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    """Decay of the averaged weights that are evaluated and shipped; 0 keeps none."""
    minutes: float = 0.0
    """Time after which the run ends, its learning rate run down by then, if `steps` do not end it before; 0: no limit.
    What one has of a machine on loan; it makes the run depend on the machine's speed."""
    seed: int = 0
    evaluate_every: int = 1000
    save_every: int = 500
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every", "save_every", "devices"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} is {getattr(self, name)}; it must be at least 1")
        if self.minutes < 0 or (self.minutes and self.devices > 1):
            raise ConfigError(
                f"train.minutes is {self.minutes}; it must be at least 0, and 0 if train.devices is above 1"
            )
        if self.seed < 0:
            raise ConfigError(f"train.seed is {self.seed}; it must be at least 0")
        if self.learning_rate <= 0:
            raise ConfigError(f"train.learning_rate is {self.learning_rate}; it must be positive")


def done_at(step: int, config: TrainConfig, seconds: float = 0.0) -> float:
    """Share of a run that is done at a step, after some time."""
    return min(1.0, max(step / config.steps, seconds / (60 * config.minutes) if config.minutes else 0.0))


def rate_at(step: int, config: TrainConfig, seconds: float = 0.0) -> float:
    """Share of the learning rate at a step, after some time: linear warm-up, then cosine decay."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = done_at(step, config, seconds)
    return warm * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done)))
