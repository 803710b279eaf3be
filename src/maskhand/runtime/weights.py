"""A weight file as the engines read it: NumPy arrays one by one, mapped from disk, and its config."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.config import build
from maskhand.errors import AssetError
from maskhand.runtime.config import NetworkConfig
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.weight_file import open_weights


class WeightFile:
    """A safetensors file that maskhand wrote.

    Raises:
        AssetError: it is missing, damaged, or was not written by maskhand.

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file, self.config = open_weights(self.path, "numpy")

    @property
    def names(self) -> set[str]:
        """Of all tensors."""
        return set(self._file.keys())

    def tensor(self, name: str) -> np.ndarray:
        """One tensor in single precision."""
        return self._file.get_tensor(name).astype(np.float32)

    def check(self, shapes: dict[str, list[int]]) -> None:
        """Raise unless the file holds tensors of these names and shapes.

        Raises:
            AssetError: one is missing or misshapen.

        """
        missing = sorted(set(shapes) - self.names)
        if missing:
            raise AssetError(f"weights {self.path} do not fit the model: missing {missing[:3]}")
        for name, shape in shapes.items():
            own = self._file.get_slice(name)
            if own.get_shape() != shape:
                raise AssetError(
                    f"weights {self.path}: {name} has shape {tuple(own.get_shape())}, the model wants {tuple(shape)}"
                )
            if own.get_dtype() not in ("F16", "F32", "F64"):
                raise AssetError(f"weights {self.path}: {name} is of type {own.get_dtype()}; expected F16 or F32")

    @cached_property
    def network(self) -> NetworkConfig:
        """Sizes of the network.

        Raises:
            AssetError: the file holds none.

        """
        return build(NetworkConfig, self._section("network"))

    @cached_property
    def tokenizer(self) -> TokenizerConfig:
        """Sizes of the tokenizer."""
        return build(TokenizerConfig, self._section("tokenizer"))

    def _section(self, name: str) -> Any:
        if "network" not in self.config or "tokenizer" not in self.config:
            old = "; it was written by maskhand 0.13 or earlier, train or load it with that release"
            raise AssetError(
                f"{self.path} holds no MaskHand network (its config has {', '.join(self.config) or 'nothing'})"
                + old * ("model" in self.config)
            )
        return self.config[name]
