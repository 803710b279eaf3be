"""Google's hand landmark network (MediaPipe, Apache-2.0) as a PyTorch module: 2D and 3D landmarks, presence, side.

Its trunk was trained on real hands; the default image encoder starts from it. Weights: scripts/convert_networks.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, pad, relu6

from maskhand.checkpoint import load_into, read_weights
from maskhand.geometry.crop import upright_angle

INPUT_PX = 224
DEPTH_SCALE = 0.4
"""The network's unit of depth in that of its x and y [MediaPipe: `normalize_z`]."""
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
            from maskhand.depthwise import clipped_depthwise  # Numba's 60 MB only where something learns

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


@dataclass(frozen=True)
class Landmarks:
    """What the landmark network says of a crop."""

    points: Float[Tensor, "B 21 3"]
    """x, y in [0, 1] across the crop (right, down), z in the same unit, smaller is nearer."""
    world: Float[Tensor, "B 21 3"]
    """Metres, about the middle of the hand; x right, y down, z away."""
    presence: Float[Tensor, " B"]
    right: Float[Tensor, " B"]
    """Probability that, in the crop as it is shown, this is a right hand."""

    @property
    def keypoints(self) -> Float[Tensor, "B 21 4"]:
        """What the transformer reads: x, y in [-1, 1] across the crop, presence as confidence, depth behind the wrist."""
        presence = self.presence[:, None, None].expand(-1, 21, 1)
        depth = self.points[..., 2:] - self.points[:, :1, 2:]
        return torch.cat([self.points[..., :2] * 2 - 1, presence, 2 * depth], dim=-1)


class LandmarkNetwork(nn.Module):
    """Trunk and its four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = LandmarkTrunk()
        self.handedness = nn.Linear(POOLED_CHANNELS, 1)
        self.presence = nn.Linear(POOLED_CHANNELS, 1)
        self.landmarks = nn.Linear(POOLED_CHANNELS, 63)
        self.world = nn.Linear(POOLED_CHANNELS, 63)

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Landmarks:
        _, pooled = self.trunk(image)
        return self.read(pooled)

    def keypoints_as_upright(self, image: Float[Tensor, "B 3 224 224"], near: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B 21 4"]:
        """Keypoints of hands that stand as they come, turned upright for it, as it was trained, and back.

        near: about where they are, crop from -1 to 1.
        """
        angle = image.new_tensor([upright_angle(points) for points in near.cpu().numpy()])
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))
        grid = affine_grid(pad(turn, (0, 1)), list(image.shape), align_corners=False)
        found = self(grid_sample(image, grid, align_corners=False)).keypoints
        return torch.cat([found[..., :2] @ turn.mT, found[..., 2:]], -1)

    def read(self, pooled: Float[Tensor, "B 1152"]) -> Landmarks:
        """The heads alone."""
        return Landmarks(
            points=self.landmarks(pooled).unflatten(1, (21, 3)) / pooled.new_tensor([INPUT_PX, INPUT_PX, INPUT_PX * DEPTH_SCALE]),
            world=self.world(pooled).unflatten(1, (21, 3)),
            presence=self.presence(pooled)[:, 0].sigmoid(),
            right=self.handedness(pooled)[:, 0].sigmoid(),
        )


@cache
def shared_landmark_network() -> LandmarkNetwork:
    """The network with its own weights, loaded once, frozen."""
    network = LandmarkNetwork()
    with as_file(files("maskhand") / "assets" / "landmark_network.safetensors") as path:
        load_into(network, read_weights(path)[0], source=path)
    # Channels last: a quarter faster on a CPU.
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
