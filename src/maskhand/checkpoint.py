"""Weights on disk: one safetensors file holds the config (JSON in the header) and the tensors. Loading is strict."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from maskhand.errors import AssetError
from maskhand.weight_file import open_weights


def save_weights(
    path: str | Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write atomically; `half` stores floating point tensors as fp16."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)

    def stored(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu().contiguous()
        return tensor.half() if half and tensor.is_floating_point() else tensor

    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        temporary = Path(part.name)
    try:
        save_file({k: stored(v) for k, v in tensors.items()}, temporary, metadata={"config": json.dumps(config)})
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (fp16 widened to fp32) and config.

    Raises:
        AssetError: the file is missing, damaged, or was not written by maskhand.

    """
    file, config = open_weights(path, "pt")
    tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}, config


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path, prefix: str = "") -> None:
    """Copy tensors into a module; a missing, unexpected or misshapen one is an error that names it."""
    wanted = module.state_dict()
    given = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    missing, unexpected = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or unexpected:
        raise AssetError(
            f"weights {source} do not fit the model: "
            f"missing {missing[:3] or 'none'}, unexpected {unexpected[:3] or 'none'}"
        )
    for key, value in given.items():
        if value.shape != wanted[key].shape:
            raise AssetError(
                f"weights {source}: {key} has shape {tuple(value.shape)}, the model wants {tuple(wanted[key].shape)}"
            )
    module.load_state_dict(dict(given))


def save_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """A training state (tensors, numbers, nested dicts), written atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    torch.save(dict(state), temporary)
    temporary.replace(path)


def read_state(path: str | Path) -> dict[str, Any]:
    """A training state; only tensors and plain values are ever unpickled."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise AssetError(f"training state {path} does not exist") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise AssetError(f"training state {path} cannot be read: {error}") from error
