"""Training of the hand detector: photos composed on the training device, from cut-outs on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from maskhand.detection.box_detector import BoxConfig, BoxDetector, box_network
from maskhand.detection.box_network import BoxNetwork, cell_outputs
from maskhand.detection.palm_network import shared_palm_network
from maskhand.evaluation.detection import DetectionTally
from maskhand.synthesis.crowds import CrowdBatch, CrowdComposer, CrowdConfig
from maskhand.synthesis.cutouts import load_cutouts
from maskhand.training.detector_loss import detector_loss
from maskhand.training.loop import Stage
from maskhand.training.schedule import TrainConfig


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """Everything `maskhand train detector` reads from its config file."""

    train: TrainConfig
    cutouts: tuple[str, ...]
    """Files of `maskhand data cutouts`."""
    held_out: tuple[str, ...]
    """The same, of photos that do not train; the weights best on them are kept."""
    crowds: CrowdConfig = CrowdConfig()
    start: str = "palms"
    """"palms": the palm network's trunk; "none"; or the weights of an earlier run."""
    learns: Literal["all", "heads"] = "all"
    """"heads": the trunk stays as it is, which makes a step three times as cheap."""


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


class DetectorStage(Stage):
    """Runs on one device: the composer makes the batches where the network is."""

    def __init__(self, config: DetectorTraining, device: str) -> None:
        self.config, self.device = config, device
        network = BoxNetwork() if config.start in ("palms", "none") else box_network(config.start)
        if config.start == "palms":
            trunk = shared_palm_network().state_dict()
            own = {name: value for name, value in trunk.items() if not name.startswith(("scores", "boxes"))}
            network.load_state_dict({**network.state_dict(), **own})
        if config.learns == "heads":
            network.requires_grad_(False).heads.requires_grad_(True)
        self.module = DetectorObjective(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        self.composer = CrowdComposer(load_cutouts(config.cutouts), config.crowds, device)
        self.held_out = load_cutouts(config.held_out)

    def batches(self, steps: Iterable[int]) -> Iterator[CrowdBatch]:
        generator = torch.Generator(self.device)
        for step in steps:
            yield self.composer.batch(
                self.config.train.batch_size, generator.manual_seed(self.config.train.seed * 1_000_003 + step)
            )

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        detector = BoxDetector(module.network, BoxConfig(threshold=0.05))  # type: ignore[arg-type]
        result, false = DetectionTally(0.5), 0
        held_out = self.held_out
        for first in range(0, len(held_out.pictures), 64):
            rows = range(first, min(first + 64, len(held_out.pictures)))
            images = [held_out.pictures[k, : held_out.sizes[k, 1], : held_out.sizes[k, 0], :3] for k in rows]
            for k, image, hands in zip(rows, images, detector.find(images), strict=True):
                outlines = held_out.outlines[k]
                outlines = outlines[np.isfinite(outlines[:, 0, 0])]
                boxes = np.concatenate([outlines.min(1), outlines.max(1)], 1)
                detections = [hand.detection for hand in hands]
                result.add(detections, boxes, ["hand"] * len(boxes), float(max(image.shape[:2])), held_out.right[k])
                false += not len(boxes) and any(hand.score > 0.35 for hand in hands)
        empty = int(np.isnan(held_out.outlines[:, 0, 0, 0]).sum())
        return {
            "missed_ap_percent": 100 * (1 - result.average_precision),
            "recall_percent": 100 * result.recall(),
            "false_photos_percent": 100 * false / max(empty, 1),
            "side_percent": 100 * float(np.mean(result.sides)) if result.sides else float("nan"),
        }

    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return dict(module.network.state_dict()), {"detector": "box"}  # type: ignore[union-attr, operator]
