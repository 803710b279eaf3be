"""What the networks are run by: ONNX Runtime (`onnx_engine`) or PyTorch (`torch_engine`)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from maskhand.geometry.arrays import Array
from maskhand.runtime.config import NetworkConfig
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.types import Engine


@runtime_checkable
class HandEngine(Engine, Protocol):
    """An engine with a trained network."""

    config: NetworkConfig
    tokenizer: TokenizerConfig
    input_px: int | None
    """Side of the crops that the network reads; None if it goes on from the landmark network's features of them."""

    @property
    def codes(self) -> Array:
        """(K, C) the codebook."""
        ...
