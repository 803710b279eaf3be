from __future__ import annotations

import pytest
import torch

from maskhand.assets import load_tokenizer
from maskhand.errors import ConfigError
from maskhand.evaluation.tokenizer import held_out_poses, recorded_poses, tokenizer_errors
from maskhand.tokenizer.codebook import Codebook
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.schedule import TrainConfig
from maskhand.training.tokenizer_stage import TokenizerObjective, TokenizerTraining

TINY = TokenizerConfig(token_count=32, codebook_size=64, code_dim=16, width=32, depth=1)


@pytest.mark.parametrize("count", [16, 32, 64, 128])
def test_every_token_count_of_table_7_works(count: int, poses) -> None:
    tokenizer = VqMano(TokenizerConfig(token_count=count, codebook_size=32, code_dim=8, width=16, depth=1)).eval()
    tokens = tokenizer.encode(poses)
    assert tokens.shape == (8, count)
    assert tokenizer.decode(tokens).shape == (8, 16, 3, 3)


def test_the_nearest_code_is_nearest() -> None:
    book = Codebook(50, 4)
    z = torch.randn(30, 4)
    assert (torch.cdist(z, book.codes).argmin(1) == book.nearest(z)).all()


def test_codes_follow_the_mean_of_what_they_are_given() -> None:
    book = Codebook(2, 1, decay=0.5, reset_below=0.0).train()
    book.initialised.fill_(True)
    book.codes.copy_(torch.tensor([[0.0], [10.0]]))
    book.ema_sum.copy_(book.codes)
    book.ema_count.fill_(1.0)
    book(torch.tensor([[[1.0], [3.0], [12.0]]]))
    # count: .5 * 1 + .5 * (2, 1); sum: .5 * (0, 10) + .5 * (4, 12)
    torch.testing.assert_close(book.codes, torch.tensor([[2 / 1.5], [11.0]]))


def test_unused_codes_move_onto_encodings_of_the_batch() -> None:
    book = Codebook(64, 2, reset_below=1.0).train()
    book.initialised.fill_(True)
    book.codes.fill_(1e6)
    book.codes[0] = 0
    book.ema_count.zero_()
    z = torch.rand(1, 40, 2)
    book(z)
    assert (book.codes.abs() < 10).all()


def test_the_codebook_state_survives_a_checkpoint() -> None:
    first, second = Codebook(8, 3).train(), Codebook(8, 3).train()
    first(torch.randn(2, 20, 3))
    second.load_state_dict(first.state_dict())
    z = torch.randn(2, 20, 3)
    torch.manual_seed(1)
    first(z)
    torch.manual_seed(1)
    second(z)
    for key, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[key], atol=0, rtol=0)


def test_the_straight_through_gradient_reaches_the_encoder(poses) -> None:
    tokenizer = VqMano(TINY)
    recovered, commitment, _ = tokenizer(poses)
    (recovered.square().sum() + commitment).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tokenizer.encoder.parameters())


def test_the_tokenizer_overfits_four_poses(hand_model, poses) -> None:
    config = TokenizerTraining(train=TrainConfig(steps=1, batch_size=4, learning_rate=1e-3), tokenizer=TINY)
    objective = TokenizerObjective(config, hand_model).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for _ in range(400):
        loss, _ = objective(poses[:4])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    objective.eval()
    errors = tokenizer_errors(objective.tokenizer, hand_model, poses[:4])
    assert errors["pa_mpjpe_mm"] < 2.0, errors


def test_the_shipped_tokenizer_meets_its_figures(hand_model) -> None:
    errors = tokenizer_errors(load_tokenizer("embedded"), hand_model, held_out_poses(hand_model, 500))
    assert errors["pa_mpjpe_mm"] < 0.40
    assert errors["pa_mpvpe_mm"] < 0.40


def test_recorded_real_poses_survive_the_shipped_tokenizer(hand_model, development_data) -> None:
    pose = recorded_poses(development_data / "quest_handposes" / "poses.npz", hand_model)
    assert len(pose) == 55
    assert tokenizer_errors(load_tokenizer("embedded"), hand_model, pose)["pa_mpjpe_mm"] < 1.5


@pytest.mark.parametrize("count", [0, 8, 24, 48])
def test_an_impossible_token_count_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"token_count is {count}"):
        TokenizerConfig(token_count=count)
