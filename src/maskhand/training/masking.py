"""What training hides: pose tokens (paper Section 3.3), and, this project's addition, 2D keypoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maskhand.errors import ConfigError
from maskhand.types import Keypoints2D


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """How tokens and keypoints are hidden in training. Everything but `low` and `high` is ours; all 0 is the paper."""

    low: float = 0.0
    high: float = 1.0
    """tau ~ U(low, high) (Table 13; the paper's best is the full range)."""
    all_hidden: float = 0.0
    """Share of samples that show no token at all, as the first round of inference does."""
    wrong_tokens: float = 0.1
    """Share of the visible tokens replaced by random ones (after MoMask, which replaces hidden ones)."""
    own_tokens: float = 0.0
    """Share of samples whose visible tokens are what a first round of the model itself made of them, as at inference.
    Only these teach later rounds on photos, whose tokens nobody knows."""
    landmark_keypoints: float = 0.25
    """Share of samples that get the landmark network's keypoints alone, where the network has a head of its own."""
    no_keypoints: float = 0.1
    """Share of samples without any 2D keypoint."""
    no_depth: float = 0.15
    """Share of samples whose keypoints come without depth, as a user's do."""
    lost_keypoints: float = 0.08
    """Share of single keypoints lost."""
    keypoint_noise: float = 0.01
    """Standard deviation of noise on the keypoints, crop from -1 to 1."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"masking.{name} is {value}; it must be from 0 to 1")


@dataclass(frozen=True)
class HiddenTokens:
    """Which tokens of a batch are hidden, and what the others show."""

    mask: Bool[Tensor, "B L"]
    wrong: Bool[Tensor, "B L"]
    """Visible ones that show a random code."""
    own: Bool[Tensor, " B"]
    """Samples whose visible tokens are to be the model's own."""
    visible: Int[Tensor, "B L"]


def random_mask(
    batch: int, length: int, *, low: float = 0.0, high: float = 1.0, device: torch.device | str = "cpu"
) -> Bool[Tensor, "batch length"]:
    """Training masks: m = ceil(gamma(tau) L) tokens per sample, tau ~ U(low, high); at least one is hidden (Table
    13).
    """
    tau = low + (high - low) * torch.rand(batch, device=device)
    count = (torch.cos(tau * math.pi / 2) * length).ceil().clamp(1, length)
    order = torch.rand(batch, length, device=device).argsort(1).argsort(1)
    return order < count[:, None]


def hide_tokens(
    tokens: Int[Tensor, "B L"], labelled: Float[Tensor, " B"], code_count: int, config: MaskConfig
) -> HiddenTokens:
    """Hide tokens by chance; a photo (labelled 0) has no tokens to show but the model's own."""
    device = tokens.device
    mask = random_mask(*tokens.shape, low=config.low, high=config.high, device=device)
    mask = mask | (torch.rand(len(mask), 1, device=device) < config.all_hidden)
    own = torch.rand(len(mask), device=device) < config.own_tokens
    mask = mask | ((labelled == 0) & ~own)[:, None]
    wrong = (torch.rand_like(mask, dtype=torch.float32) < config.wrong_tokens) & ~mask
    return HiddenTokens(mask, wrong, own, torch.where(wrong, torch.randint_like(tokens, code_count), tokens))


def disturb_keypoints(keypoints: Keypoints2D, config: MaskConfig) -> Keypoints2D:
    """Keypoints with a little noise, some lost, sometimes all, sometimes without depth."""
    xy, depth = keypoints.xy, keypoints.depth
    lost = torch.rand_like(keypoints.confidence) < config.lost_keypoints
    lost = lost | (torch.rand(len(xy), 1, device=xy.device) < config.no_keypoints)
    flat = torch.rand(len(xy), 1, device=xy.device) < config.no_depth
    return replace(
        keypoints,
        xy=xy + config.keypoint_noise * torch.randn_like(xy),
        confidence=keypoints.confidence * ~lost,
        depth=torch.where(flat, torch.nan, depth + config.keypoint_noise * torch.randn_like(depth)),
    )
