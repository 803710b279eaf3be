"""Weights by name or path."""

from __future__ import annotations

import pytest
import torch

from maskhand import AssetError, ConfigError, load


def test_weights_that_do_not_exist_or_do_not_fit_are_named(tmp_path) -> None:
    from maskhand.checkpoint import read_weights, save_weights

    with pytest.raises(AssetError, match="no weights named 'tiny'"):
        load("tiny")
    (tmp_path / "bad.safetensors").write_bytes(b"rubbish")
    with pytest.raises(AssetError, match="damaged or no safetensors"):
        load(tmp_path / "bad.safetensors")
    from maskhand.assets import embedded

    tensors, config = read_weights(embedded("default.safetensors"))
    some = "model.embed.weight"
    save_weights(tmp_path / "part.safetensors", {k: v for k, v in tensors.items() if k != some}, config)
    with pytest.raises(AssetError, match="missing"):
        load(tmp_path / "part.safetensors")
    save_weights(tmp_path / "shape.safetensors", {**tensors, some: torch.zeros(7, 7, 7)}, config)
    with pytest.raises(AssetError, match="has shape"):
        load(tmp_path / "shape.safetensors")
    save_weights(tmp_path / "other.safetensors", tensors, {**config, "hand_model": "mano"})
    with pytest.raises(AssetError, match="trained on hand model 'mano'"):
        load(tmp_path / "other.safetensors")
    save_weights(tmp_path / "keys.safetensors", tensors, {**config, "network": {**config["network"], "widht": 3}})
    with pytest.raises(ConfigError, match="unknown setting widht"):
        load(tmp_path / "keys.safetensors")
