"""Opening weight files: safetensors with a config (JSON) in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from maskhand.errors import AssetError


def open_weights(path: str | Path, framework: str) -> tuple[Any, dict[str, Any]]:
    """The open file, which gives tensors of a framework ("pt", "numpy"), and its config.

    Raises:
        AssetError: it is missing, damaged, or was not written by maskhand.

    """
    path = Path(path)
    if not path.is_file():
        raise AssetError(f"weights {path} do not exist")
    try:
        file = safe_open(path, framework=framework)
        metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise AssetError(f"weights {path} are damaged or no safetensors file: {error}") from error
    if "config" not in metadata:
        raise AssetError(f"weights {path} carry no config; they were not written by maskhand")
    return file, json.loads(metadata["config"])
