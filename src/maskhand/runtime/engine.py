"""What the networks are run by: ONNX Runtime (`onnx_engine`) or PyTorch (`torch_engine`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from maskhand.errors import ConfigError
from maskhand.geometry.arrays import Array
from maskhand.runtime.config import NetworkConfig
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.types import Engine

if TYPE_CHECKING:
    from maskhand.runtime.hand_network import HandNetwork


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


def module_of(engine: HandEngine) -> HandNetwork:
    """The PyTorch module that an engine runs.

    Raises:
        ConfigError: it runs exported graphs.

    """
    network = getattr(engine, "network", None)
    if network is None:
        raise ConfigError("exported graphs have no PyTorch module: load with backend='torch'")
    return network
