"""Training of the hand detector: photos composed on the training device, from cut-outs on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskhand.detection.box_detector import BoxConfig, BoxDetector
from maskhand.detection.box_network import BoxNetwork, box_network, cell_outputs
from maskhand.evaluation.detection import DetectionTally
from maskhand.runtime.graphs import Boxes
from maskhand.synthesis.crowds import CrowdBatch, CrowdComposer, CrowdConfig
from maskhand.synthesis.cutouts import load_cutouts
from maskhand.training.detector_loss import detector_loss
from maskhand.training.loop import Stage
from maskhand.training.schedule import TrainConfig
from maskhand.types import Detection


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """Everything `maskhand train detector` reads from its config file."""

    train: TrainConfig
    cutouts: tuple[str, ...]
    """Files of `maskhand data cutouts`."""
    held_out: tuple[str, ...]
    """The same, of photos that do not train."""
    crowds: CrowdConfig = CrowdConfig()
    start: str = "none"
    """Weights to start from, such as those of scripts/convert_networks.py; or "none"."""
    frozen_blocks: int = 0
    """So many first blocks of the trunk stay as they are, and what comes before them; a step is cheaper."""


class DetectorObjective(nn.Module):
    """The network with its loss, so that a batch goes in and a number comes out."""

    def __init__(self, network: BoxNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: CrowdBatch) -> tuple[Tensor, dict[str, Tensor]]:
        raw = self.network(batch.image.contiguous(memory_format=torch.channels_last))
        height, width = batch.image.shape[-2:]
        loss, terms = detector_loss(cell_outputs(raw, height, width), batch)
        return loss, {name: term.detach() for name, term in terms.items()}


class ModuleEngine:
    """Runs a detector's network while it learns."""

    def __init__(self, network: BoxNetwork) -> None:
        self.graph, self.device = Boxes(network), next(network.parameters()).device

    @torch.inference_mode()
    def run(self, graph: str, **inputs: Tensor) -> dict[str, Tensor]:
        return self.graph(inputs["image"])

    def array(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device)


class DetectorStage(Stage):
    """Runs on one device: the composer makes the batches where the network is."""

    def __init__(self, config: DetectorTraining, device: str) -> None:
        self.config, self.device = config, device
        network = BoxNetwork() if config.start == "none" else box_network(config.start)
        if config.frozen_blocks:
            trunk = network.trunk
            for part in (trunk.stem, trunk.stem_depthwise, trunk.stem_project, *trunk.blocks[: config.frozen_blocks]):
                part.requires_grad_(False)
        self.module = DetectorObjective(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        self.composer = CrowdComposer(load_cutouts(config.cutouts), config.crowds, device)
        self.held_out = load_cutouts(config.held_out)

    def batches(self, steps: Iterable[int]) -> Iterator[CrowdBatch]:
        """On a CPU the next one is composed while the network learns from this one."""
        if self.device != "cpu":
            yield from map(self._batch, steps)
            return
        with ThreadPoolExecutor(1) as pool:
            waiting = None
            for step in steps:
                coming = pool.submit(self._batch, step)
                if waiting is not None:
                    yield waiting.result()
                waiting = coming
            if waiting is not None:
                yield waiting.result()

    def _batch(self, step: int) -> CrowdBatch:
        generator = torch.Generator(self.device).manual_seed(self.config.train.seed * 1_000_003 + step)
        return self.composer.batch(self.config.train.batch_size, generator)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        detector = BoxDetector(ModuleEngine(module.network), BoxConfig(threshold=0.05))  # type: ignore[arg-type]
        result, false = DetectionTally(0.5), 0
        held_out = self.held_out
        for k, (width, height) in enumerate(held_out.sizes):
            outlines = held_out.outlines[k]
            outlines = outlines[np.isfinite(outlines[:, 0, 0])]
            boxes = np.concatenate([outlines.min(1), outlines.max(1)], 1)
            found = detector.find(held_out.pictures[k, :height, :width, :3])
            detections = [Detection(hand.box, hand.score, hand.right) for hand in found]
            result.add(detections, boxes, ["hand"] * len(boxes), float(max(width, height)), held_out.right[k])
            false += not len(boxes) and any(hand.score > 0.5 for hand in found)
        empty = int(np.isnan(held_out.outlines[:, 0, 0, 0]).sum())
        return {
            "missed_ap_percent": 100 * (1 - result.average_precision),
            "recall_percent": 100 * result.recall(),
            "false_photos_percent": 100 * false / max(empty, 1),
            "side_percent": 100 * float(np.mean(result.sides)) if result.sides else float("nan"),
        }

    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = module.network.state_dict()  # type: ignore[union-attr, operator]
        return {name: value.half() for name, value in tensors.items()}, {"detector": "box"}
