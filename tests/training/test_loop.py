"""The training loop: resume, clock, rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers import TOKENIZER, assert_same, train_config, weights_of

from maskhand.checkpoint import read_state, save_state
from maskhand.errors import AssetError, ConfigError
from maskhand.training.loop import fit
from maskhand.training.precision import HALF_IS_SLOW
from maskhand.training.schedule import rate_at
from maskhand.training.tokenizer_stage import TokenizerStage, TokenizerTraining


def test_a_stopped_tokenizer_run_takes_the_very_steps_of_an_unbroken_one(tmp_path, hand_model) -> None:
    def run(folder: Path, stop: int | None = None) -> None:
        settings = TokenizerTraining(train=train_config(ema_decay=0.9), tokenizer=TOKENIZER)
        torch.manual_seed(7)
        fit(TokenizerStage(settings, hand_model), settings.train, folder, stop_after=stop)

    run(tmp_path / "whole")
    run(tmp_path / "parts", stop=3)
    run(tmp_path / "parts")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    one, other = (read_state(tmp_path / name / "state.pt") for name in ("whole", "parts"))
    assert one["step"] == other["step"] == 6
    assert_same(one["module"], other["module"])


def test_a_resumed_run_follows_its_settings_and_a_finished_one_says_so(tmp_path, hand_model, capsys) -> None:
    def run(fresh: bool = False, **changes) -> None:
        settings = TokenizerTraining(train=train_config(evaluate_every=3, **changes), tokenizer=TOKENIZER)
        fit(TokenizerStage(settings, hand_model), settings.train, tmp_path, resume=not fresh)

    run(steps=3, weight_decay=0.1)
    run(steps=4, weight_decay=0.2)
    assert {group["weight_decay"] for group in read_state(tmp_path / "state.pt")["optimizer"]["param_groups"]} == {0.2}
    capsys.readouterr()
    run(steps=4)
    assert "is at step 4 of 4 already" in " ".join(capsys.readouterr().err.split())
    run(steps=3, fresh=True)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1, "the log starts afresh"
    with pytest.raises(ConfigError, match=r"train\.accelerator='bogus'"):
        run(accelerator="bogus")


def test_without_bfloat16_arithmetic_a_run_learns_in_float32_and_says_so(
    tmp_path, hand_model, monkeypatch, capsys
) -> None:
    def run(name: str, precision: str) -> dict[str, torch.Tensor]:
        settings = TokenizerTraining(train=train_config(precision=precision), tokenizer=TOKENIZER)
        torch.manual_seed(7)
        fit(TokenizerStage(settings, hand_model), settings.train, tmp_path / name)
        return weights_of(tmp_path / name)

    monkeypatch.setattr("maskhand.training.loop.half_is_fast", lambda device: False)
    plain = run("plain", "32-true")
    assert HALF_IS_SLOW not in " ".join(capsys.readouterr().err.split())
    assert_same(plain, run("half", "bf16-mixed"))
    assert HALF_IS_SLOW in " ".join(capsys.readouterr().err.split())


def test_a_run_by_the_clock_ends_in_time_with_its_rate_run_down(tmp_path, hand_model, capsys) -> None:
    settings = TokenizerTraining(train=train_config(steps=100_000, minutes=0.05), tokenizer=TOKENIZER)
    fit(TokenizerStage(settings, hand_model), settings.train, tmp_path)
    state = read_state(tmp_path / "state.pt")
    assert 0 < state["step"] < 100_000 and state["seconds"] >= 3
    assert state["optimizer"]["param_groups"][0]["lr"] < 0.1 * settings.train.learning_rate
    fit(TokenizerStage(settings, hand_model), settings.train, tmp_path)
    assert read_state(tmp_path / "state.pt")["step"] == state["step"], "the time before counts"
    assert "more train.minutes go on" in " ".join(capsys.readouterr().err.split())


def test_the_learning_rate_warms_up_and_decays() -> None:
    settings = train_config(steps=1000, warmup_steps=100, final_rate=0.1)
    rates = [rate_at(k, settings) for k in range(1000)]
    assert rates[0] < 0.02 and max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "train.steps is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"minutes": 5.0, "devices": 2}, "minutes is 5.0"),
    ],
)
def test_impossible_training_settings_are_refused(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        train_config(**changes)


def test_a_damaged_state_is_named(tmp_path) -> None:
    (tmp_path / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(AssetError, match=r"state\.pt cannot be read"):
        read_state(tmp_path / "state.pt")
    with pytest.raises(AssetError, match="does not exist"):
        read_state(tmp_path / "none.pt")
    save_state(tmp_path / "state.pt", {"step": 3})
    assert read_state(tmp_path / "state.pt") == {"step": 3}
