from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskhand.model.unmasking import Sampling, draw_blends, draw_codes, masked_after, unmask
from maskhand.training.masking import random_mask


def mean_of(codes: torch.Tensor):
    """The mean code vectors under distributions."""
    return lambda probabilities: probabilities @ codes


def random_predictor(codes: torch.Tensor, seen: list[torch.Tensor]):
    """Guesses; notes the tokens it is shown, -1 where masked."""

    def predict(shown: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        tokens = torch.cdist(shown, codes[None]).argmin(-1)
        seen.append(torch.where(mask, -1, tokens))
        return (3 * torch.randn(*mask.shape, len(codes))).softmax(-1)

    return predict


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 64])
def test_sampling_follows_the_cosine_schedule_and_never_re_masks(steps: int) -> None:
    seen: list[torch.Tensor] = []
    codes = torch.randn(32, 4)
    result = unmask(
        random_predictor(codes, seen),
        mean_of(codes),
        codes,
        batch=6,
        length=64,
        steps=steps,
        sampling=Sampling(mean=False),
    )
    assert len(seen) == steps
    for step, tokens in enumerate(seen[1:], start=1):
        expected = min(63, math.ceil(math.cos(math.pi / 2 * step / steps) * 64 - 1e-9))
        assert ((tokens == -1).sum(1) == expected).all()
        kept = seen[step - 1] != -1
        assert (tokens[kept] == seen[step - 1][kept]).all(), "a kept token stays as it is"
    assert result.masked_counts[-1] == 0
    torch.testing.assert_close(result.by_round[:, -1], result.confidence.mean(1))
    assert (result.confidence > 0).all()
    last = seen[-1] != -1
    assert (seen[-1][last] == result.tokens[last]).all()


def test_the_surest_tokens_are_kept_first() -> None:
    logits = torch.zeros(1, 4, 3)
    logits[0, :, 1] = torch.tensor([1.0, 4.0, 2.0, 3.0])
    rounds: list[torch.Tensor] = []
    codes = torch.randn(3, 2)

    def predict(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rounds.append(mask.clone())
        return logits.softmax(-1)

    unmask(predict, mean_of(codes), codes, batch=1, length=4, steps=3)
    assert [masked_after(k, 3, 4) for k in (1, 2, 3)] == [3, 2, 0]
    assert rounds[1][0].tolist() == [True, False, True, True]


def test_without_temperature_sampling_is_deterministic_and_picks_the_likeliest() -> None:
    logits, codes = torch.randn(2, 16, 9), torch.randn(9, 3)
    result = unmask(lambda t, m: logits.softmax(-1), mean_of(codes), codes, batch=2, length=16, steps=4)
    assert (result.tokens == logits.argmax(-1)).all()


def test_rounds_see_the_mean_of_the_codes_where_none_is_drawn() -> None:
    logits, codes, seen = torch.randn(1, 8, 5), torch.randn(5, 3), []

    def predict(shown: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((shown, mask))
        return logits.softmax(-1)

    unmask(predict, mean_of(codes), codes, batch=1, length=8, steps=2, sampling=Sampling(mean=True))
    shown, mask = seen[1]
    torch.testing.assert_close(shown[~mask], (logits.softmax(-1) @ codes)[~mask])


def test_top_k_draws_only_among_the_likeliest() -> None:
    logits, codes = torch.randn(1, 200, 10), torch.randn(10, 3)
    allowed = logits.topk(2, dim=-1).indices
    result = unmask(
        lambda t, m: logits.softmax(-1),
        mean_of(codes),
        codes,
        batch=1,
        length=200,
        steps=1,
        sampling=Sampling(temperature=5.0, top_k=2),
    )
    assert (result.tokens[..., None] == allowed).any(-1).all()
    assert (result.tokens != logits.argmax(-1)).any()


def test_the_mean_code_is_the_expectation_over_the_codes() -> None:
    logits, codes = torch.randn(1, 8, 5), torch.randn(5, 3)
    result = unmask(lambda t, m: logits.softmax(-1), mean_of(codes), codes, batch=1, length=8, steps=1)
    torch.testing.assert_close(result.code, logits.softmax(-1) @ codes)


def test_codes_are_drawn_as_often_as_their_probabilities_say() -> None:
    probabilities = np.array([[[0.5, 0.0, 0.2, 0.3]], [[0.0, 0.0, 0.0, 7.0]]]).repeat(4000, 1)  # of any sum
    drawn = draw_codes(probabilities, np.random.default_rng(0).random((2, 4000)))
    np.testing.assert_allclose(np.bincount(drawn[0], minlength=4) / 4000, probabilities[0, 0], atol=0.03)
    assert (drawn[1] == 3).all()
    only_first = draw_codes(probabilities[:1, :2], np.full((1, 2), 0.99), np.array([[True, False]]))
    assert only_first.tolist() == [[3, 0]]


def test_blends_are_codes_that_turn_into_the_next_one_at_the_end_of_their_share() -> None:
    probabilities, codes = np.array([[[0.5, 0.0005, 0.4995]]]), np.array([[0.0], [9.0], [1.0]])
    uniform = np.array([[0.0, 0.2, 0.5 * 0.875, 0.4999, 0.5011, 0.7]])
    blends = draw_blends(probabilities, codes, uniform)[0, 0, :, 0]
    np.testing.assert_allclose(blends, [0, 0, 0.75, 1, 1, 1], atol=0.02)  # the unlikely code is left out
    nudged = draw_blends(probabilities * (1 + 1e-6 * np.arange(3)), codes, uniform)[0, 0, :, 0]
    np.testing.assert_allclose(nudged, blends, atol=1e-4)


def test_training_masks_hide_between_one_and_all_tokens_as_the_cosine_says() -> None:
    mask = random_mask(4000, 64)
    counts = mask.sum(1).float()
    assert counts.min() >= 1 and counts.max() == 64
    assert abs(counts.mean().item() / 64 - 2 / math.pi) < 0.02, "the mean of cos over a quarter turn is 2 / pi"


def test_a_narrow_masking_range_of_table_13_is_kept() -> None:
    counts = random_mask(1000, 64, low=0.0, high=0.5).sum(1)
    assert counts.min() >= math.floor(math.cos(math.pi / 4) * 64)
