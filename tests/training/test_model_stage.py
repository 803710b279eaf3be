"""Stage 2 as a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import TOKENIZER, assert_same, small_config, small_network, train_config, weights_of

from maskhand.assets import network_config
from maskhand.checkpoint import read_state, save_weights
from maskhand.detection.landmark_network import shared_landmark_network
from maskhand.errors import AssetError, ConfigError, InputError
from maskhand.evaluation.synthetic import TEST_SEED
from maskhand.inference.config import InferenceConfig
from maskhand.model.config import EncoderConfig
from maskhand.runtime.hand_network import HandNetwork
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.loop import fit
from maskhand.training.model_stage import ModelStage
from maskhand.training.settings import DataConfig, ModelTraining

pytest.importorskip("lightning_fabric", reason="the extra 'train' is not installed")
TINY: dict[str, Any] = {"width": 16, "synthesizer_layers": 1}


def settings_of(
    data: DataConfig, *, train: dict[str, Any] | None = None, start: str | None = None, **model
) -> ModelTraining:
    return ModelTraining(
        train=train_config(**(train or {})),
        data=data,
        network=small_config(**{**TINY, **model}),
        start=start,
        offset_rate=0.1,
    )


def saved(path: Path, network: HandNetwork) -> str:
    save_weights(path, network.state_dict(), network_config(network, InferenceConfig()))
    return str(path)


def test_a_stopped_model_run_takes_the_very_steps_of_an_unbroken_one(tmp_path, hand_model, shards) -> None:
    torch.manual_seed(3)
    tokenizer = VqMano(TOKENIZER).eval()
    data = DataConfig(synthetic=str(shards / "synthetic"), photos=str(shards / "photos"), photo_share=0.5)

    def run(folder: Path, stop: int | None = None) -> None:
        settings = settings_of(data, train={"ema_decay": 0.9})
        torch.manual_seed(7)
        fit(ModelStage(settings, tokenizer, hand_model), settings.train, folder, stop_after=stop)

    run(tmp_path / "whole")
    run(tmp_path / "parts", stop=2)
    run(tmp_path / "parts")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    torch.manual_seed(4)
    tokenizer = VqMano(TOKENIZER).eval()
    with pytest.raises(ConfigError, match=r"other weights of network\.model\.tokenizer"):
        run(tmp_path / "parts")


def test_a_model_run_evaluates_keeps_the_best_and_logs(tmp_path, hand_model, shards) -> None:
    data = DataConfig(synthetic=str(shards / "synthetic"), evaluation=str(shards / "synthetic"))
    settings = settings_of(data, train={"steps": 2, "evaluate_every": 1})
    result = fit(ModelStage(settings, VqMano(TOKENIZER).eval(), hand_model), settings.train, tmp_path)
    assert result["pa_mpjpe_mm"] > 0 and result["landmark_network_pa_mpjpe_mm"] > 0
    assert (tmp_path / "best.safetensors").exists()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_two_processes_of_one_machine_train_one_model(tmp_path, shards) -> None:
    settings = {
        "network.model.width": 32,
        "data.synthetic": shards / "synthetic",
        "data.photos": shards / "photos",
        "data.evaluation": shards / "validation",
        "train.accelerator": "cpu",
        "train.devices": 2,
        "train.batch_size": 4,
        "train.steps": 2,
        "train.evaluate_every": 2,
    }
    command = [sys.executable, "-m", "maskhand.cli.main", "train", "model", "--config", "configs/default.toml"]
    command += ["-o", str(tmp_path), *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 2:") == 1, "each process reported"
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    assert read_state(tmp_path / "state.pt")["step"] == 2


def test_live_images_and_photos_train_a_whole_backbone_and_resume(tmp_path, hand_model, shards) -> None:
    torch.manual_seed(3)
    tokenizer = VqMano(TOKENIZER).eval()
    data = DataConfig(
        synthetic="live", photos=str(shards / "photos"), evaluation=str(shards / "validation"), workers=0, augment=1.0,
        in_memory=True,
    )  # fmt: skip

    def run(folder: Path, stop: int | None = None) -> None:
        settings = settings_of(data, train={"steps": 2}, encoder=EncoderConfig(learns="all"))
        torch.manual_seed(7)
        fit(ModelStage(settings, tokenizer, hand_model), settings.train, folder, stop_after=stop)

    run(tmp_path / "whole")
    run(tmp_path / "parts", stop=1)
    run(tmp_path / "parts")
    # The very first pass of a process through the whole backbone differs from later ones in the last bit.
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"), atol=1e-6)
    before = shared_landmark_network().trunk.state_dict()["stem.weight"]
    after = weights_of(tmp_path / "whole")["model.encoder.backbone.trunk.stem.weight"]
    assert not torch.equal(before, after), "the first layer has learned"


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ({"synthetic": "live", "photos": "synthetic"}, {"encoder": EncoderConfig(learns="all")}, "keep no crops"),
        ({"synthetic": "x"}, {"encoder": EncoderConfig(learns="all")}, "needs images"),
        ({"synthetic": "synthetic"}, {"upright": False}, "needs data.synthetic=live"),
        ({"synthetic": "live", "evaluation": "validation"}, {"upright": False}, "data.photos and evaluation none"),
    ],
)
def test_data_that_does_not_go_with_the_model_is_refused(hand_model, shards, monkeypatch, data, model, message) -> None:
    monkeypatch.chdir(shards)
    with pytest.raises((ConfigError, InputError), match=message):
        ModelStage(settings_of(DataConfig(**data), **model), VqMano(TOKENIZER).eval(), hand_model)


@pytest.mark.parametrize("seed", [11, TEST_SEED - 1])
def test_live_images_that_judge_are_no_training_images(hand_model, shards, seed: int) -> None:
    settings = settings_of(DataConfig(synthetic="live", evaluation=str(shards / "validation")), train={"seed": seed})
    with pytest.raises(ConfigError, match=f"draws the images of seed {seed + 1}"):
        ModelStage(settings, VqMano(TOKENIZER), hand_model)


def test_weights_of_another_tokenizer_or_trunk_are_no_start(tmp_path, hand_model) -> None:
    torch.manual_seed(0)
    first, second = VqMano(TOKENIZER), VqMano(TOKENIZER)
    start = saved(tmp_path / "start.safetensors", small_network(first, **TINY))
    settings = settings_of(DataConfig(synthetic="live"), start=start)
    ModelStage(settings, first, hand_model)
    with pytest.raises(ConfigError, match="another tokenizer"):
        ModelStage(settings, second, hand_model)
    saved(tmp_path / "start.safetensors", small_network(first, **TINY, encoder=EncoderConfig(learns="all")))
    with pytest.raises(AssetError, match=r"unexpected \['model.encoder.backbone.trunk"):
        ModelStage(settings, first, hand_model)


def test_parts_that_a_start_lacks_begin_afresh_and_are_named(tmp_path, hand_model, capsys) -> None:
    tokenizer = VqMano(TOKENIZER)
    before = small_network(tokenizer, **TINY)
    start = saved(tmp_path / "start.safetensors", before)
    stage = ModelStage(
        settings_of(DataConfig(synthetic="live"), start=start, synthesizer_layers=2), tokenizer, hand_model
    )
    first, second = stage.network.model.synthesizer.layers
    torch.testing.assert_close(first.feed[0].weight, before.model.synthesizer.layers[0].feed[0].weight)
    assert (second.deform.out.weight == 0).all()
    assert "start afresh: model.synthesizer.layers.1" in " ".join(capsys.readouterr().err.split())
    slow = [
        group
        for group in stage.parameter_groups(1.0)
        if group["lr"] == 0.1 and first.deform.offsets.bias.shape in {p.shape for p in group["params"]}
    ]
    assert len(slow) == 1, "offsets have a rate of their own"
