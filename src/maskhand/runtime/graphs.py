"""The networks as graphs of plain arrays: what the engines run, and what `maskhand export onnx` writes.

hands: image (B, 320, 320, 3) uint8 RGB -> scores, right (B, 2100), boxes (B, 2100, 4) x1, y1, x2, y2 [px],
    direction (B, 2100, 2)
palms: image (B, 192, 192, 3) uint8 RGB -> boxes (B, 2016, 18) [px], scores (B, 2016)
landmarks: image (B, 224, 224, 3) uint8 RGB -> points, world (B, 21, 3), presence, right (B,), features (B, 40, 28, 28)
encode: features, or image (B, S, S, 3) -> shape (B, 10), weak_camera (B, 3), values_0, ..., and of the keypoint head
    heat_xy (B, 21, 2), heat_confidence, heat_depth, heat_certainty (B, 21)
round: values_0, ..., xy (B, 21, 2), confidence, depth (B, 21), embedding (B, L, C), mask (B, L) ->
    probabilities (B, L, K)
mean: probabilities -> embedding (B, L, C)
pose: embedding (B, L, C) -> pose (B, 16, 3, 3)
hand: pose, shape -> vertices (B, V, 3), keypoints (B, 21, 3) [m]

The batch B is dynamic. values_k: image features of the pyramid's level k, fine to coarse, (B, layers, heads, d, H, W).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from maskhand.detection import box_network, landmark_network, palm_network
from maskhand.hand_model.layer import HandModel
from maskhand.model.maskhand import Context
from maskhand.runtime.hand_network import Encoded, HandNetwork
from maskhand.types import Keypoints2D

Outputs = dict[str, Tensor]


class Graph(nn.Module, ABC):
    """A network whose forward takes tensors in the order of `inputs` and returns them by name."""

    inputs: tuple[str, ...]

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Inputs of the right shapes, to trace it with."""


class Boxes(Graph):
    inputs = ("image",)

    def forward(self, image: Tensor) -> Outputs:
        found = box_network.cell_outputs(self.network(_planes(image)), box_network.INPUT_PX, box_network.INPUT_PX)
        return {
            "scores": found.score.sigmoid(), "right": found.right.sigmoid(), "boxes": found.boxes,
            "direction": found.direction,
        }  # fmt: skip

    def example(self, batch: int) -> tuple[Tensor, ...]:
        return (_pixels(batch, box_network.INPUT_PX),)


class Palms(Graph):
    inputs = ("image",)

    def forward(self, image: Tensor) -> Outputs:
        boxes, logits = self.network(_planes(image))
        return {"boxes": boxes, "scores": logits.sigmoid()}

    def example(self, batch: int) -> tuple[Tensor, ...]:
        return (_pixels(batch, palm_network.INPUT_PX),)


class LandmarkGraph(Graph):
    inputs = ("image",)

    def forward(self, image: Tensor) -> Outputs:
        found, maps = self.network.with_maps(_planes(image))
        return {
            "points": found.points, "world": found.world, "presence": found.presence, "right": found.right,
            "features": maps[8],
        }  # fmt: skip

    def example(self, batch: int) -> tuple[Tensor, ...]:
        return (_pixels(batch, landmark_network.INPUT_PX),)


class Encode(Graph):
    def __init__(self, network: HandNetwork) -> None:
        super().__init__(network)
        self.inputs = ("features",) if network.input_px is None else ("image",)

    def forward(self, crops: Tensor) -> Outputs:
        maps = {4: crops} if self.network.input_px is None else _planes(crops)
        return encoded_values(self.network, self.network.encode(maps))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        size = self.network.input_px
        return (torch.rand(batch, 40, 28, 28) if size is None else _pixels(batch, size),)


def encoded_values(network: HandNetwork, encoded: Encoded) -> Outputs:
    """What the graph `encode` returns of an encoded batch."""
    model = network.model
    shape, weak_camera = model.coarse_head(encoded.pyramid[-1])
    by_layer = model.synthesizer.prepare(encoded.pyramid)
    levels = (torch.stack([layer[k] for layer in by_layer], 1) for k in range(len(encoded.pyramid)))
    heads = model.config.heads
    values = {f"values_{k}": x.unflatten(0, (-1, heads)).transpose(1, 2) for k, x in enumerate(levels)}
    outputs = {"shape": shape, "weak_camera": weak_camera, **values}
    if encoded.heatmaps is not None:
        found, certainty = encoded.heatmaps.keypoints, encoded.heatmaps.depth_certainty
        outputs |= {"heat_xy": found.xy, "heat_confidence": found.confidence, "heat_depth": found.depth}
        outputs |= {} if certainty is None else {"heat_certainty": certainty}
    return outputs


class Round(Graph):
    def __init__(self, network: HandNetwork) -> None:
        super().__init__(network)
        self.levels = len({1, *network.model.config.encoder.scales})
        self.inputs = (*(f"values_{k}" for k in range(self.levels)), "xy", "confidence", "depth", "embedding", "mask")

    def forward(self, *inputs: Tensor) -> Outputs:
        model, values = self.network.model, inputs[: self.levels]
        xy, confidence, depth, embedding, mask = inputs[self.levels :]
        keypoints = Keypoints2D(xy, confidence, depth, confidence[:, 0], "landmark_network", "fused")
        by_layer = [
            [level[:, k].flatten(0, 1) for level in values] for k in range(model.config.synthesizer_layers)
        ]  # heads by crop
        pose, reference = model.pose_context(keypoints)
        context = Context(by_layer, pose, reference, model.book)
        return {"probabilities": model.predict(context, embedding, mask).softmax(-1)}

    def example(self, batch: int) -> tuple[Tensor, ...]:
        encoded = Encode(self.network)(*Encode(self.network).example(batch))
        length, dim = len(self.network.model.position), self.network.model.codes.shape[1]
        keypoints = (torch.rand(batch, 21, 2), torch.ones(batch, 21), torch.rand(batch, 21))
        tokens = (torch.rand(batch, length, dim), torch.rand(batch, length) < 0.5)
        return (*(encoded[f"values_{k}"] for k in range(self.levels)), *keypoints, *tokens)


class Mean(Graph):
    inputs = ("probabilities",)

    def forward(self, probabilities: Tensor) -> Outputs:
        return {"embedding": self.network.model.mean_code(probabilities)}

    def example(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.rand(batch, len(self.network.model.position), len(self.network.model.codes)),)


class Pose(Graph):
    inputs = ("embedding",)

    def forward(self, embedding: Tensor) -> Outputs:
        return {"pose": self.network.model.tokenizer.decode_embeddings(embedding)}

    def example(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.rand(batch, len(self.network.model.position), self.network.model.codes.shape[1]),)


class Hand(Graph):
    inputs = ("pose", "shape")

    def __init__(self, hand_model: HandModel) -> None:
        super().__init__(None)
        self.hand_model = hand_model

    def forward(self, pose: Tensor, shape: Tensor) -> Outputs:
        mesh = self.hand_model(pose, shape)
        return {"vertices": mesh.vertices, "keypoints": mesh.keypoints}

    def example(self, batch: int) -> tuple[Tensor, ...]:
        return torch.eye(3).expand(batch, 16, 3, 3), torch.zeros(batch, self.hand_model.shape_count)


def detection_graphs() -> dict[str, Graph]:
    """The networks that find hands and their keypoints, as shipped."""
    return {
        "hands": Boxes(box_network.shared_box_network()),
        "palms": Palms(palm_network.shared_palm_network()),
        "landmarks": LandmarkGraph(landmark_network.shared_landmark_network()),
    }


def hand_graphs(network: HandNetwork) -> dict[str, Graph]:
    """A trained network's."""
    return {"encode": Encode(network), "round": Round(network), "mean": Mean(network), "pose": Pose(network)}


def _planes(image: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) in [0, 1]."""
    return image.permute(0, 3, 1, 2).float() / 255


def _pixels(batch: int, size: int) -> Tensor:
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
