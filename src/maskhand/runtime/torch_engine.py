"""The networks run by PyTorch, on the CPU or a GPU: for training's own evaluation, for weights without exported graphs,
and where there is a GPU.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from maskhand.runtime.graphs import Graph, detection_graphs, hand_graphs
from maskhand.runtime.hand_network import HandNetwork


class TorchEngine:
    """Runs graphs on the device of a network.

    Args:
        network: a trained one.
        detection: with the networks that find hands; shared ones on the CPU, copies elsewhere.

    """

    def __init__(self, network: HandNetwork, *, detection: bool = False) -> None:
        self.network, self.config, self.tokenizer = network, network.config, network.model.tokenizer.config
        self.input_px, self.codes, self.device = network.input_px, network.model.codes, network.device
        self.graphs: dict[str, Graph] = hand_graphs(network)
        if detection:
            on_cpu = self.device.type == "cpu"
            finders = detection_graphs()
            self.graphs |= finders if on_cpu else {k: copy.deepcopy(g).to(self.device) for k, g in finders.items()}

    @torch.inference_mode()
    def run(self, graph: str, **inputs: Tensor) -> dict[str, Tensor]:
        """The outputs of a graph by name, on the engine's device."""
        runner = self.graphs[graph]
        return runner(*(inputs[name] for name in runner.inputs))

    def array(self, values: np.ndarray) -> Tensor:
        """NumPy's values on the engine's device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
