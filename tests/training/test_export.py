"""From a run to a file to ship."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.helpers import small_network
from typer.testing import CliRunner

from maskhand.assets import load, network_config
from maskhand.checkpoint import read_weights, save_weights
from maskhand.cli.main import app
from maskhand.inference.calibration import Calibration
from maskhand.inference.config import InferenceConfig


def test_a_run_becomes_a_file_that_loads_with_its_confidence(tmp_path, shards) -> None:
    network = small_network(width=16, synthesizer_layers=1)
    torch.nn.init.normal_(network.model.mask_token)
    trained, shipped = tmp_path / "trained.safetensors", tmp_path / "shipped.safetensors"
    save_weights(trained, network.state_dict(), network_config(network, InferenceConfig()))
    arguments = ["train", "export", str(trained), "-o", str(shipped), "--cache", str(shards / "validation")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    _, config = read_weights(shipped)
    assert load(shipped).config.calibration == Calibration(**config["inference"]["calibration"]) != Calibration()
    assert shipped.stat().st_size < 0.6 * trained.stat().st_size
    assert "photos" in str(CliRunner().invoke(app, [*arguments[:-1], str(shards / "photos")]).exception)
    assert Path(trained).exists()
