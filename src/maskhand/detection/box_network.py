"""A one-stage hand detector: every cell of three maps says whether a hand lies there, its box, side and direction.

Anchor-free in the manner of FCOS (Tian et al., 2019), on the trunk of Google's palm network (MediaPipe, Apache-2.0),
trained by `maskhand train detector`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.backbones.landmark_trunk import SameConv
from maskhand.detection.palm_network import BlazeBlock, PalmTrunk

INPUT_PX = 320
STRIDES = (8, 16, 32)
VALUES = 8
"""Per cell: score, left, top, right, bottom, side, direction x, y."""
_PRIOR_LOGIT = -4.6  # one cell in a hundred


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


class BoxNetwork(PalmTrunk):
    """RGB image in [0, 1], its sides multiples of 32, to hands."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                SameConv(width, 128, 1), nn.PReLU(128), BlazeBlock(128, 128), BlazeBlock(128, 128),
                SameConv(128, VALUES, 1),
            )
            for width in (128, 256, 256)
        )  # fmt: skip
        for name, values in self.heads.named_parameters():
            if name.endswith("4.weight"):
                nn.init.normal_(values, std=0.01)
            if name.endswith("4.bias"):
                nn.init.zeros_(values)
                with torch.no_grad():
                    values[0] = _PRIOR_LOGIT

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N 8"]:
        """Raw values of every cell; `cell_outputs` reads them."""
        maps = [head(x) for head, x in zip(self.heads, self.maps(image), strict=True)]
        return torch.cat([x.flatten(2) for x in maps], 2).mT


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
