"""The trunk of Google's hand landmark network (MediaPipe, Apache-2.0), trained on real hands: feature maps of an image.

Weights: scripts/convert_networks.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import as_file, files

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, relu6

from maskhand.checkpoint import load_into, read_weights

INPUT_PX = 224
TRUNK_CHANNELS = {4: 24, 8: 40, 16: 112, 32: 192}
"""Channels of the trunk's maps by stride."""
POOLED_CHANNELS = 1152

# kernel, stride, expanded channels, output channels of each inverted residual
_BLOCKS = (
    (3, 2, 64, 24),
    (3, 1, 144, 24),
    (5, 2, 144, 40),
    (5, 1, 240, 40),
    (3, 2, 240, 80),
    (3, 1, 480, 80),
    (3, 1, 480, 80),
    (5, 1, 480, 112),
    (5, 1, 672, 112),
    (5, 1, 672, 112),
    (5, 2, 672, 192),
    (5, 1, 1152, 192),
    (5, 1, 1152, 192),
    (5, 1, 1152, 192),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=inputs if depthwise else 1)
        total = kernel - stride if stride > 1 else kernel - 1  # for sizes that the stride divides
        self.before, self.after = total // 2, total - total // 2

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        if self.after == 0:
            return super().forward(x)
        if self.before == self.after:
            return nn.functional.conv2d(x, self.weight, self.bias, self.stride, self.before, 1, self.groups)
        return super().forward(pad(x, (self.before, self.after, self.before, self.after)))


class ClippedDepthwise(SameConv):
    """A depthwise convolution with relu6 before and after it. Without gradients it writes over its input."""

    bias: nn.Parameter

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, depthwise=True)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H2 W2"]:
        if torch.is_grad_enabled() and self.weight.requires_grad and x.device.type == "cpu":
            from maskhand.backbones.depthwise import (
                clipped_depthwise,
            )  # imported where something learns: Numba takes 60 MB

            return clipped_depthwise(x, self.weight, self.bias, self.stride[0], (self.before, self.after))
        if torch.is_grad_enabled():
            return relu6(super().forward(relu6(x)))
        return super().forward(x.clamp_(0, 6)).clamp_(0, 6)  # in place: new memory costs more than the arithmetic


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (MobileNetV2); a skip connection where the shape stays."""

    def __init__(self, inputs: int, kernel: int, stride: int, expanded: int, outputs: int) -> None:
        super().__init__()
        self.expand = SameConv(inputs, expanded, 1)
        self.depthwise = ClippedDepthwise(expanded, kernel, stride)
        self.project = SameConv(expanded, outputs, 1)
        self.stride, self.skip = stride, stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


def run_blocks(blocks: Iterable[nn.Module], x: Float[Tensor, "B C H W"], stride: int) -> dict[int, Tensor]:
    """Maps by stride, the last one of each, of blocks that follow a map `x` of a stride."""
    maps: dict[int, Tensor] = {}
    for block in blocks:
        stride *= block.stride  # type: ignore[operator, assignment]
        x = block(x)
        maps[stride] = x
    return maps


class LandmarkTrunk(nn.Module):
    """Image to feature maps, fully convolutional."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 24, 3, 2)
        self.stem_depthwise = ClippedDepthwise(24, 3)
        self.stem_project = SameConv(24, 16, 1)
        blocks, channels = [], 16
        for kernel, stride, expanded, outputs in _BLOCKS:
            blocks.append(InvertedResidual(channels, kernel, stride, expanded, outputs))
            channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(192, POOLED_CHANNELS, 1)
        self.head_depthwise = ClippedDepthwise(POOLED_CHANNELS, 3)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[dict[int, Tensor], Float[Tensor, "B 1152"]]:
        """Maps by stride (4, 8, 16, 32) and the pooled feature, of an RGB image in [0, 1]."""
        maps = self.maps(image, len(self.blocks))
        return maps, self.pool(maps[32])

    def maps(self, image: Float[Tensor, "B 3 H W"], blocks: int) -> dict[int, Tensor]:
        """Maps by stride, as far as the first `blocks` blocks make them."""
        x = self.stem_project(self.stem_depthwise(self.stem(image)))
        return run_blocks(self.blocks[:blocks], x, 2)

    def pool(self, coarse: Float[Tensor, "B 192 h w"]) -> Float[Tensor, "B 1152"]:
        """The pooled feature, from the map of stride 32."""
        return self.head_depthwise(self.head(coarse)).mean((2, 3))


def read_landmark_weights() -> dict[str, Tensor]:
    """Tensors of the landmark network as shipped: `trunk.` and its heads."""
    with as_file(files("maskhand") / "assets" / "landmark_network.safetensors") as path:
        return read_weights(path)[0]


def pretrained_trunk() -> LandmarkTrunk:
    """A trunk with the landmark network's weights, in evaluation mode."""
    trunk = LandmarkTrunk()
    load_into(trunk, read_landmark_weights(), source="landmark_network.safetensors", prefix="trunk.")
    return trunk.eval()
