"""Masks: how many tokens are hidden in training (Section 3.3), and which are kept in each round of sampling (Section
3.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maskhand.errors import ConfigError


def masked_after(round_index: int, rounds: int, length: int) -> int:
    """How many of `length` tokens stay masked after round `round_index` (from 1): gamma(t / T) L, gamma = cos(pi t /
    2 T).
    """
    if round_index >= rounds:
        return 0
    exact = math.cos(math.pi / 2 * round_index / rounds) * length
    return min(length - 1, math.ceil(exact - 1e-9))  # cos(pi / 3) * 4 is a hair above 2


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


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes are chosen from their distributions."""

    temperature: float = 0.0
    """0 takes the likeliest code, otherwise codes are drawn from softmax(logits / temperature)."""
    top_k: int | None = None
    """Draw among so many likeliest codes only."""
    mean: bool | None = None
    """Let the mean code vector of a token's distribution stand for the code chosen, in later rounds and when
    decoding;
    None: where codes are not drawn. The paper decodes the codes chosen."""

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ConfigError(f"temperature is {self.temperature}; 0 takes the likeliest code, above 0 codes are drawn")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; it must be at least 1")

    @property
    def takes_mean(self) -> bool:
        return self.temperature <= 0 if self.mean is None else self.mean


@dataclass(frozen=True)
class Unmasked:
    """Result of confidence-guided sampling."""

    tokens: Int[Tensor, "B L"]
    confidence: Float[Tensor, "B L"]
    """Probability of each token in the round that accepted it."""
    mean_code: Float[Tensor, "B L C"]
    """Mean code vector under the distribution that accepted each token: softmax(logits) @ codebook."""
    probabilities: Float[Tensor, "B L K"]
    """The distribution that accepted each token."""
    masked_counts: tuple[int, ...]
    """Tokens still masked after each round."""
    by_round: Float[Tensor, "B T"]
    """Mean confidence of all tokens in each round, those accepted before as they were (paper, Appendix K)."""


def unmask(
    predict: Callable[[Float[Tensor, "B L C"], Bool[Tensor, "B L"]], Float[Tensor, "B L K"]],
    codes: Float[Tensor, "K C"],
    *,
    batch: int,
    length: int,
    steps: int,
    sampling: Sampling = Sampling(),
    generator: torch.Generator | None = None,
) -> Unmasked:
    """Confidence-guided sampling: start fully masked, keep the surest tokens of each round, mask the others again.

    Args:
        predict: logits of every token from (code vectors, mask); what masked tokens hold does not matter.
        codes: the codebook.
        batch, length: sequences, and tokens in each.
        steps: rounds T.
        sampling: how codes are chosen.
        generator: chance, where they are drawn.

    """
    tokens = torch.zeros(batch, length, dtype=torch.long, device=codes.device)
    mask = torch.ones(batch, length, dtype=torch.bool, device=codes.device)
    confidence = torch.zeros(batch, length, device=codes.device)
    visible = torch.zeros(batch, length, codes.shape[1], device=codes.device)
    kept = torch.zeros(batch, length, len(codes), device=codes.device)
    counts, by_round = [], []
    for round_index in range(1, steps + 1):
        logits = predict(visible, mask)
        probabilities = logits.softmax(-1)
        proposed = _choose(logits, sampling, generator)
        sure = probabilities.gather(-1, proposed[..., None])[..., 0]
        still = masked_after(round_index, steps, length)
        counts.append(still)
        by_round.append(torch.where(mask, sure, confidence).mean(1))
        # Tokens accepted before are never masked again: infinite confidence keeps them.
        ranking = torch.where(mask, sure, torch.full_like(sure, math.inf)).argsort(1).argsort(1)
        accept = mask & (ranking >= still)
        tokens = torch.where(accept, proposed, tokens)
        confidence = torch.where(accept, sure, confidence)
        kept = torch.where(accept[..., None], probabilities, kept)
        if round_index < steps:
            visible = kept @ codes if sampling.takes_mean else codes[tokens]
        mask = mask & ~accept
    return Unmasked(tokens, confidence, kept @ codes, kept, tuple(counts), torch.stack(by_round, 1))


def _choose(
    logits: Float[Tensor, "B L K"], sampling: Sampling, generator: torch.Generator | None
) -> Int[Tensor, "B L"]:
    if sampling.temperature <= 0:
        return logits.argmax(-1)
    if sampling.top_k is not None:
        floor = logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < floor, -math.inf)
    flat = (logits / sampling.temperature).softmax(-1).flatten(0, 1)
    return torch.multinomial(flat, 1, generator=generator).view(logits.shape[:2])
