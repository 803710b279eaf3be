"""Confidence-guided sampling: which tokens are kept in each round (paper, Section 3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from maskhand.errors import ConfigError
from maskhand.geometry.arrays import Array, device, like, namespace, to_numpy

LEAST_LIKELY = 0.002
"""Share of the likeliest code's probability under which a code is not drawn for the spread."""
TURNING = 0.5
"""Share of a code's probability over which a drawn code vector turns into the next one."""


def masked_after(round_index: int, rounds: int, length: int) -> int:
    """How many of `length` tokens stay masked after round `round_index` (from 1): gamma(t / T) L, gamma = cos(pi t /
    2 T).
    """
    if round_index >= rounds:
        return 0
    exact = math.cos(math.pi / 2 * round_index / rounds) * length
    return min(length - 1, math.ceil(exact - 1e-9))  # cos(pi / 3) * 4 is a hair above 2


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

    tokens: Int[Array, "B L"]
    confidence: Float[Array, "B L"]
    """Probability of each token in the round that accepted it."""
    code: Float[Array, "B L C"]
    """What each token is decoded from: the mean code vector under the distribution that accepted it, or the code drawn
    (`Sampling.mean`)."""
    others: Float[Array, "B L D C"]
    """Code vectors drawn from the distribution that accepted each token, with the uniform numbers given."""
    masked_counts: tuple[int, ...]
    """Tokens still masked after each round."""
    by_round: Float[Array, "B T"]
    """Mean confidence of all tokens in each round, those accepted before as they were (paper, Appendix K)."""


Predict = Callable[[Float[Array, "B L C"], Bool[Array, "B L"]], Float[Array, "B L K"]]
"""From (code vectors of the tokens, mask) to every token's probabilities; what masked tokens hold does not matter."""


def unmask(
    predict: Predict,
    mean_code: Callable[[Float[Array, "B L K"]], Float[Array, "B L C"]],
    codes: Float[Array, "K C"],
    *,
    batch: int,
    length: int,
    steps: int,
    sampling: Sampling = Sampling(),
    rng: np.random.Generator | None = None,
    uniform: Float[np.ndarray, "L D"] | None = None,
) -> Unmasked:
    """Confidence-guided sampling: start fully masked, keep the surest tokens of each round, mask the others again.

    Args:
        predict: one round.
        mean_code: the mean code vectors under distributions, probabilities @ codes.
        codes: the codebook.
        batch, length: sequences, and tokens in each.
        steps: rounds T.
        sampling: how codes are chosen.
        rng: chance, where they are drawn.
        uniform: numbers in [0, 1) that draw D other tokens in place of each, the same for every sequence.

    """
    xp, where, rng = namespace(codes), device(codes), rng or np.random.default_rng(0)
    uniform = np.zeros((length, 0), np.float32) if uniform is None else uniform
    tokens = xp.zeros((batch, length), dtype=xp.int64, device=where)
    others = xp.zeros((batch, length, uniform.shape[1], codes.shape[1]), dtype=codes.dtype, device=where)
    mask = xp.ones((batch, length), dtype=xp.bool, device=where)
    confidence = xp.zeros((batch, length), dtype=codes.dtype, device=where)
    accepted = xp.zeros((batch, length, codes.shape[1]), dtype=codes.dtype, device=where)
    counts, by_round = [], []
    for round_index in range(1, steps + 1):
        probabilities = predict(accepted, mask)
        proposed = _choose(probabilities, mask, sampling, rng)
        sure = xp.take_along_axis(probabilities, proposed[..., None], axis=-1)[..., 0]
        still = masked_after(round_index, steps, length)
        counts.append(still)
        by_round.append(xp.mean(xp.where(mask, sure, confidence), axis=1))
        # Tokens accepted before are never masked again: infinite confidence keeps them.
        ranking = xp.argsort(xp.argsort(xp.where(mask, sure, math.inf), axis=1, stable=True), axis=1)
        accept = mask & (ranking >= still)
        tokens, confidence = xp.where(accept, proposed, tokens), xp.where(accept, sure, confidence)
        if sampling.takes_mean:
            code = mean_code(probabilities)
        else:
            code = xp.reshape(xp.take(codes, xp.reshape(proposed, (-1,)), axis=0), accepted.shape)
        accepted = xp.where(accept[..., None], code, accepted)
        if uniform.shape[1]:
            others = xp.where(accept[..., None, None], draw_blends(probabilities, codes, uniform, accept), others)
        mask = mask & ~accept
    return Unmasked(tokens, confidence, accepted, others, tuple(counts), xp.stack(by_round, axis=1))


def _choose(
    probabilities: Float[Array, "B L K"], mask: Bool[Array, "B L"], sampling: Sampling, rng: np.random.Generator
) -> Int[Array, "B L"]:
    xp = namespace(probabilities)
    if sampling.temperature <= 0:
        return xp.argmax(probabilities, axis=-1)
    if sampling.top_k is not None:
        lowest = probabilities.shape[-1] - min(sampling.top_k, probabilities.shape[-1])
        floor = xp.sort(probabilities, axis=-1)[..., lowest, None]
        probabilities = xp.where(probabilities < floor, 0.0, probabilities)
    if sampling.temperature != 1:
        highest = xp.max(probabilities, axis=-1, keepdims=True)
        probabilities = (probabilities / highest) ** (1 / sampling.temperature)
    return draw_codes(probabilities, rng.random(tuple(mask.shape)), mask)


def draw_codes(
    probabilities: Float[Array, "B L K"], uniform: Float[np.ndarray, "B L"], rows: Bool[Array, "B L"] | None = None
) -> Int[Array, "B L"]:
    """Codes drawn by inverting cumulative distributions.

    Args:
        probabilities: of any sum.
        uniform: numbers in [0, 1).
        rows: tokens to draw for; 0 stands in the others. None: all.

    """
    chosen = np.ones(uniform.shape, bool) if rows is None else to_numpy(rows)
    below = np.cumsum(to_numpy(probabilities)[chosen], axis=-1)
    drawn = np.zeros(chosen.shape, np.int64)
    drawn[chosen] = np.count_nonzero(below <= uniform[chosen][:, None] * below[:, -1:], axis=-1)
    last = probabilities.shape[-1] - 1
    return namespace(probabilities).asarray(drawn.clip(max=last), device=device(probabilities))


def draw_blends(
    probabilities: Float[Array, "B L K"],
    codes: Float[Array, "K C"],
    uniform: Float[np.ndarray, "*B2 L D"],
    rows: Bool[Array, "B L"] | None = None,
) -> Float[Array, "B L D C"]:
    """Code vectors drawn likewise among the likelier codes, but continuous in the probabilities: towards the end of its
    share a code turns into the next one, so that rounding does not change what depends on it.
    """
    xp, chosen = namespace(codes), np.ones(probabilities.shape[:2], bool) if rows is None else to_numpy(rows)
    uniform = np.broadcast_to(uniform, (*chosen.shape, uniform.shape[-1]))
    index, following, place = _inverted(to_numpy(probabilities)[chosen], uniform[chosen])
    first, second, share = (np.zeros(uniform.shape, dtype) for dtype in (np.int64, np.int64, np.float32))
    first[chosen], second[chosen], share[chosen] = index, following, (1 - (1 - place) / TURNING).clip(0, 1)

    def vectors(of: np.ndarray) -> Array:
        flat = xp.asarray(of.ravel(), device=device(codes))
        return xp.reshape(xp.take(codes, flat, axis=0), (*of.shape, codes.shape[1]))

    return vectors(first) + like(share, codes)[..., None] * (vectors(second) - vectors(first))


def _inverted(
    probabilities: Float[np.ndarray, "n K"], uniform: Float[np.ndarray, "n D"]
) -> tuple[Int[np.ndarray, "n D"], Int[np.ndarray, "n D"], Float[np.ndarray, "n D"]]:
    """Where cumulative distributions of the likelier codes reach numbers: the code, the next one, and how far into the
    code's share (0 to 1).
    """
    likely = np.flatnonzero(probabilities >= LEAST_LIKELY * probabilities.max(1, keepdims=True))
    row, code = np.divmod(likely, probabilities.shape[1])
    below = np.cumsum(probabilities.ravel()[likely], dtype=np.float64)  # of all rows, one after the other
    ends = np.searchsorted(row, np.arange(len(probabilities)), side="right") - 1  # each row's last possible code
    totals = below[ends]
    starts = np.concatenate([np.zeros(min(1, len(totals))), totals[:-1]])
    target = starts[:, None] + uniform * (totals - starts)[:, None]
    at = np.minimum(np.searchsorted(below, target, side="right"), ends[:, None])
    before = np.where(at > 0, below[at - 1], 0.0)
    place = (target - before) / (below[at] - before)
    return code[at], code[np.minimum(at + 1, ends[:, None])], place
