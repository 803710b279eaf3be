"""2D keypoints read off heat maps of the image encoder.

The paper takes its 2D pose from an estimator trained elsewhere; this head is this project's addition. The expectation
over a map is Sun et al.'s (ECCV 2018), the depth beside it Iqbal et al.'s (ECCV 2018), the hourglass Newell et al.'s
(ECCV 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from maskhand.backbones.base import Maps
from maskhand.keypoints.config import KeypointHeadConfig
from maskhand.types import Keypoints2D

SCALES = (1, 2, 4)


@dataclass(frozen=True)
class HeatmapKeypoints:
    """Output of the head for a batch of crops."""

    keypoints: Keypoints2D
    """In the crop, by the landmark network's definition of the joints; confidence 1: a map as narrow as in training."""
    log_heat: Float[Tensor, "B 21 N"]
    """Logarithm of each keypoint's map, over all cells; it sums to one."""
    features: Float[Tensor, "B C H W"]
    """The map that keypoints and depths are read off, at scale 4."""
    depth_certainty: Float[Tensor, "B 21"] | None = None
    """How exact each depth is thought to be: 1 as the fit expects it, 2 twice as exact; None: not predicted."""
    intermediate: tuple[HeatmapKeypoints, ...] = ()
    """The same after each hourglass but the last, for intermediate supervision; only if `keep_intermediate`."""


class KeypointHead(nn.Module):
    """From the coarsest map to the finest: doubled, the backbone's own map added, convolved, corrected by hourglasses;
    then one heat map and one depth per keypoint.

    Args:
        channels: of the backbone's maps by scale.
        base: rows and columns of its map of scale 1.
        config: sizes.

    """

    x: Tensor
    y: Tensor

    def __init__(self, channels: dict[int, int], base: tuple[int, int], config: KeypointHeadConfig) -> None:
        super().__init__()
        width, self.sigma, self.confidence_sigma = config.width, config.sigma, config.confidence_sigma
        self.keep_intermediate = False
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(channels[s], width, 1) for s in SCALES if s in channels})
        self.blocks = nn.ModuleDict(
            {
                str(s): nn.ModuleList(_conv_block(width) for _ in range(n))
                for s, n in zip(SCALES, (1, 2, 1), strict=True)
            }
        )
        for _ in range(config.fine_blocks):
            self.blocks[str(SCALES[-1])].append(_conv_block(width, silent=True))  # type: ignore[operator, union-attr]
        self.hourglasses = nn.ModuleList(Hourglass(width) for _ in range(config.hourglasses))
        self.readout = nn.Conv2d(width, 2 * 21, 1)
        self.certainty = nn.Conv2d(width, 21, 1) if config.depth_certainty else None
        if self.certainty is not None:
            nn.init.zeros_(self.certainty.weight)
            nn.init.zeros_(self.certainty.bias)  # type: ignore[arg-type]
        rows, columns = (SCALES[-1] * side for side in base)
        # A base that is not square saw the middle of the crop only.
        self.register_buffer("x", _centres(columns) * columns / rows, persistent=False)
        self.register_buffer("y", _centres(rows), persistent=False)

    def forward(self, maps: Maps) -> HeatmapKeypoints:
        """maps: by scale, as a backbone finishes them."""
        z: Tensor | None = None
        for scale, blocks in self.blocks.items():
            if z is not None:
                z = interpolate(z, scale_factor=2, mode="bilinear")
            if scale in self.lateral:
                finer = self.lateral[scale](maps[int(scale)])
                z = finer if z is None else z + finer
            for block in blocks:  # type: ignore[attr-defined]
                z = z + block(z)
        stages: list[Tensor] = [z]  # type: ignore[list-item]
        for hourglass in self.hourglasses:
            stages.append(hourglass(stages[-1]))
        *early, last = stages
        with torch.autocast(last.device.type, enabled=False):
            intermediate = tuple(self.read(z.float()) for z in early[1:]) if self.keep_intermediate else ()
            return replace(self.read(last.float()), intermediate=intermediate)

    def read(self, features: Float[Tensor, "B C H W"]) -> HeatmapKeypoints:
        """Keypoints, depths and their confidence from the finest map."""
        logits, depths = self.readout(features).split(21, 1)
        log_heat = logits.flatten(2).log_softmax(-1)
        heat = log_heat.exp().view_as(logits)
        across, down = heat.sum(2), heat.sum(3)  # (B, 21, W), (B, 21, H)
        x, y = across @ self.x, down @ self.y
        variance = across @ self.x.square() - x.square() + down @ self.y.square() - y.square()
        beyond = (variance - 2 * self.sigma**2).clamp(min=0)
        confidence = (1 + beyond / (2 * self.confidence_sigma**2)).rsqrt()
        depth = (heat * depths).sum((2, 3))
        certainty = None if self.certainty is None else (heat * self.certainty(features)).sum((2, 3)).clamp(-2, 2).exp()
        presence = x.new_full((len(x),), torch.nan)
        xy, depth = torch.stack([x, y], -1), depth - depth[:, :1]
        keypoints = Keypoints2D(xy, confidence, depth, presence, "landmark_network", "heatmaps")
        return HeatmapKeypoints(keypoints, log_heat, features, certainty)

    def target_heat(self, places: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B 21 N"]:
        """The maps that training asks for: a Gaussian about each place, crop from -1 to 1."""
        x = (-(self.x - places[..., :1]).square() / (2 * self.sigma**2)).exp()
        y = (-(self.y - places[..., 1:]).square() / (2 * self.sigma**2)).exp()
        heat = (y[..., :, None] * x[..., None, :]).flatten(2) + 1e-8
        return heat / heat.sum(-1, keepdim=True)


class Hourglass(nn.Module):
    """Corrects a map by the whole of it: halved twice, convolved, doubled again. Without effect at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.downsample = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2))
        self.blocks = nn.ModuleList(_conv_block(width) for _ in range(3))
        self.output = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def forward(self, z: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """H and W are multiples of four."""
        half = self.downsample[0](z)
        half = half + self.blocks[0](half)
        quarter = self.downsample[1](half)
        quarter = quarter + self.blocks[1](quarter)
        half = half + interpolate(quarter, scale_factor=2, mode="bilinear")
        half = half + self.blocks[2](half)
        return z + interpolate(self.output(half), scale_factor=2, mode="bilinear")


def _conv_block(width: int, *, silent: bool = False) -> nn.Sequential:
    """silent: without effect at first."""
    block = nn.Sequential(nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1), nn.GELU())
    if silent:
        nn.init.zeros_(block[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(block[1].bias)  # type: ignore[arg-type]
    return block


def _centres(count: int) -> Tensor:
    """Centres of `count` pixels across [-1, 1]."""
    return (2 * torch.arange(count) + 1) / count - 1
