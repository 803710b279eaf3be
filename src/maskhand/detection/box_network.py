"""A one-stage hand detector: every cell of three maps says whether a hand lies there, its box, side and direction.

Anchor-free in the manner of FCOS (Tian et al., 2019), on a MobileNetV2 (Sandler et al., 2018) with a feature pyramid;
it starts from the weights of HandTrack (Victor Dibia, MIT) and is trained by `maskhand train detector`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu6

from maskhand.backbones.landmark_trunk import ClippedDepthwise, InvertedResidual, SameConv, run_blocks
from maskhand.checkpoint import load_into, read_weights
from maskhand.detection.box_detector import INPUT_PX as INPUT_PX

STRIDES = (8, 16, 32)
VALUES = 8
"""Per cell: score, left, top, right, bottom, side, direction x, y."""
WIDTH = 128
_PRIOR_LOGIT = -4.6  # one cell in a hundred
# output channels, stride of each inverted residual; all expand sixfold
_BLOCKS = ((24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1), (96, 1),
           (160, 2), (160, 1), (160, 1))  # fmt: skip
_LATERALS = {8: 32, 16: 96, 32: 160}


@dataclass(frozen=True)
class CellOutputs:
    """What N cells of B images say, finest map first."""

    score: Float[Tensor, "B N"]
    """Logit of a hand whose box is right."""
    boxes: Float[Tensor, "B N 4"]
    """x1, y1, x2, y2 [px of the input]."""
    right: Float[Tensor, "B N"]
    """Logit of a right hand."""
    direction: Float[Tensor, "B N 2"]
    """From the wrist to the middle finger's MCP in the image, of any length."""


class Separable(nn.Module):
    """A depthwise 3x3 convolution without bias, a pointwise one, relu6."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH, bias=False)
        self.pointwise = SameConv(WIDTH, WIDTH, 1)

    def forward(self, x: Float[Tensor, "B 128 H W"]) -> Float[Tensor, "B 128 H W"]:
        return relu6(self.pointwise(self.depthwise(x)))


class BoxTrunk(nn.Module):
    """RGB image in [0, 1], its sides multiples of 32, to maps of strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_depthwise = SameConv(3, 32, 3, 2), ClippedDepthwise(32, 3)
        self.stem_project = SameConv(32, 16, 1)
        inputs = (16, *(outputs for outputs, _ in _BLOCKS[:-1]))
        self.blocks = nn.ModuleList(
            InvertedResidual(width, 3, stride, 6 * width, outputs)
            for width, (outputs, stride) in zip(inputs, _BLOCKS, strict=True)
        )
        self.laterals = nn.ModuleList(SameConv(width, WIDTH, 1) for width in _LATERALS.values())
        self.smooth16, self.smooth8 = Separable(), Separable()

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B 128 h w"]]:
        """The maps, finest first."""
        x = self.stem_project(self.stem_depthwise(self.stem(2 * image - 1)))
        maps = run_blocks(self.blocks, x, 2)
        fine, middle, coarse = (lateral(maps[s]) for lateral, s in zip(self.laterals, _LATERALS, strict=True))
        middle = self.smooth16(middle + interpolate(coarse, scale_factor=2, mode="nearest"))
        return [self.smooth8(fine + interpolate(middle, scale_factor=2, mode="nearest")), middle, coarse]


class BoxNetwork(nn.Module):
    """RGB image in [0, 1], its sides multiples of 32, to hands."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = BoxTrunk()
        self.heads = nn.ModuleList(nn.Sequential(Separable(), Separable(), SameConv(WIDTH, VALUES, 3)) for _ in STRIDES)
        for name, values in self.heads.named_parameters():
            if name.endswith("2.weight"):
                nn.init.normal_(values, std=0.01)
            if name.endswith("2.bias"):
                nn.init.zeros_(values)
                with torch.no_grad():
                    values[0] = _PRIOR_LOGIT

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N 8"]:
        """Raw values of every cell; `cell_outputs` reads them."""
        maps = [head(x) for head, x in zip(self.heads, self.trunk(image), strict=True)]
        return torch.cat([x.flatten(2) for x in maps], 2).transpose(1, 2)


def cell_outputs(raw: Float[Tensor, "B N 8"], height: int, width: int) -> CellOutputs:
    """The network's values as boxes in the input's pixels: sides are exponentials, in strides of the cell's map."""
    raw = raw.float()
    centres, strides = (x.to(raw.device) for x in cells(height, width))
    sides = raw[..., 1:5].clamp(-6, 6).exp() * 2 * strides[:, None]
    boxes = torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], -1)
    return CellOutputs(raw[..., 0], boxes, raw[..., 5], raw[..., 6:8])


@lru_cache(maxsize=8)
def cells(height: int, width: int) -> tuple[Float[Tensor, "N 2"], Float[Tensor, " N"]]:
    """Centres [px] and strides of all cells of an input."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        centres.append(torch.stack([x, y], -1).reshape(-1, 2) * stride + stride / 2)
        strides.append(torch.full((len(centres[-1]),), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def box_network(path: str | Path) -> BoxNetwork:
    """The network with weights of `maskhand train detector`.

    Raises:
        AssetError: the file is missing, or holds other weights.

    """
    network = BoxNetwork()
    load_into(network, read_weights(path)[0], source=path)
    return network


@cache
def shared_box_network() -> BoxNetwork:
    """The network with its own weights, loaded once, frozen."""
    with as_file(files("maskhand") / "assets" / "hand_detector.safetensors") as path:
        network = box_network(path)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
