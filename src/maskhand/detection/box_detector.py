"""Hands' boxes, sides and directions in a photo, by the project's own one-stage network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maskhand.checkpoint import load_into, read_weights
from maskhand.detection.box_network import INPUT_PX, BoxNetwork, cell_outputs
from maskhand.detection.palm_detector import weighted_nms
from maskhand.geometry.crop import Crop
from maskhand.types import Detection


@dataclass(frozen=True, kw_only=True)
class BoxConfig:
    """Which boxes count."""

    threshold: float = 0.35
    """Score from which on a box counts."""
    nms_iou: float = 0.55
    """Overlap from which on boxes are merged."""


@dataclass(frozen=True)
class FoundHand:
    """A hand in a photo [px]."""

    box: np.ndarray
    """(4,) x1, y1, x2, y2."""
    score: float
    right: float
    """Probability of a right hand."""
    direction: np.ndarray
    """(2,) from the wrist to the middle finger's MCP, of any length."""

    @property
    def detection(self) -> Detection:
        return Detection(self.box, self.score, self.right)


class BoxDetector:
    """Finds hands in one pass over the whole photo."""

    def __init__(self, network: BoxNetwork, config: BoxConfig = BoxConfig()) -> None:
        self.network, self.config = network.eval(), config

    @classmethod
    def read(cls, path: str | Path, config: BoxConfig = BoxConfig()) -> BoxDetector:
        """With weights of `maskhand train detector`."""
        network = box_network(path).requires_grad_(False)
        return cls(network.to(memory_format=torch.channels_last), config)  # type: ignore[call-overload]

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Boxes with scores and sides, surest first."""
        return [hand.detection for hand in self.find([image])[0]]

    @torch.inference_mode()
    def find(self, images: list[np.ndarray]) -> list[list[FoundHand]]:
        """The hands of each of some (H, W, 3) uint8 RGB images, surest first."""
        squares = [Crop((image.shape[1] / 2, image.shape[0] / 2), float(max(image.shape[:2])), 0.0) for image in images]
        views = np.stack([square.extract(image, INPUT_PX) for square, image in zip(squares, images, strict=True)])
        tensor = torch.from_numpy(views).to(next(self.network.parameters()).device)
        raw = self.network(tensor.permute(0, 3, 1, 2).float() / 255)
        outputs = cell_outputs(raw, INPUT_PX, INPUT_PX)
        columns = (outputs.score.sigmoid(), outputs.boxes, outputs.right.sigmoid(), outputs.direction)
        score, boxes, right, direction = (column.cpu().numpy() for column in columns)
        return [
            self._in_photo(square, image.shape, score[k], boxes[k], right[k], direction[k])
            for k, (square, image) in enumerate(zip(squares, images, strict=True))
        ]

    def _in_photo(self, square: Crop, shape, score, boxes, right, direction) -> list[FoundHand]:
        keep = np.flatnonzero(score > self.config.threshold)
        corners = square.to_photo(boxes[keep].reshape(-1, 2) * 2 / INPUT_PX - 1).reshape(-1, 2, 2)
        corners = corners.clip(0, [shape[1], shape[0]])
        sides = np.stack([right[keep], right[keep]], 1)[:, None]
        rows = np.concatenate([corners, sides, direction[keep][:, None]], 1)
        found = [(float(s), row) for s, row in zip(score[keep], rows, strict=True)]
        merged = weighted_nms(found, self.config.nms_iou)
        return [FoundHand(row[:2].reshape(4), s, float(row[2, 0]), row[3]) for s, row in merged]


def box_network(path: str | Path) -> BoxNetwork:
    """The network with weights of `maskhand train detector`.

    Raises:
        AssetError: the file is missing, or holds other weights.

    """
    network = BoxNetwork()
    load_into(network, read_weights(path)[0], source=path)
    return network
