"""2D keypoints of our own, read off heat maps of the image encoder: what takes the place of an outside 2D pose.

The paper gets its 2D pose from an estimator trained elsewhere. The landmark network's is far off on hard images (held objects,
other hands, folded fingers), and the whole answer with it; a map per keypoint, trained on the same images as the rest, is nearer,
and its width says how sure it is. This project's own addition; the expectation over a map is Sun et al.'s (ECCV 2018), the depth
beside it Iqbal et al.'s (ECCV 2018), the hourglass Newell et al.'s (ECCV 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from maskhand.model.config import ModelConfig
from maskhand.model.encoder import Maps

SCALES = (1, 2, 4)
HEAT_SIGMA = 0.1
"""Spread that a map has beyond what training asks for (`keypoint_sigma`) where confidence has fallen to 1/sqrt(2), crop from -1
to 1 [ours]."""
PLACE_SIGMA = 0.03
"""How far off a sure keypoint is, in the same unit; an unsure one by this over its confidence squared. Measured [ours]."""
OTHER_SHARE = 0.1
"""How much of the squared distance between two opinions is the other network's fault, per axis, where the hands agree [ours]."""
LED_ASTRAY = 0.004
"""Mean squared distance of the two over the hand at which that doubles; it grows with the square of it [ours]."""
SURE, DOUBT = 0.98, 64.0
"""Presence, the other network's own word on whether there is a hand, below which it doubts, and the power of its share of that
by which the squared distance grows [ours]. On nearly all photos of hands it is sure."""
DEPTH_AGREEMENT = 0.15
"""Distance between the two's depths, over the whole hand, at which the other network's counts half [ours]."""


@dataclass(frozen=True)
class FoundKeypoints:
    """What the head says of a batch of crops."""

    keypoints: Float[Tensor, "B 21 4"]
    """x, y in [-1, 1], confidence in (0, 1] (1: a map as narrow as in training), depth behind the wrist in the unit of x and y.
    The places are the landmark network's (`landmark_points`), which photos are taught by."""
    log_heat: Float[Tensor, "B 21 N"]
    """Logarithm of each keypoint's map, over all places; it sums to one."""
    features: Float[Tensor, "B C H W"]
    """What maps and depths are read off, at scale 4."""
    depth_certainty: Float[Tensor, "B 21"] | None = None
    """How near each depth is thought to be, if the head was made to say so: 1 as a fit expects it, 2 twice as near."""
    early: tuple[FoundKeypoints, ...] = ()
    """The same after each hourglass but the last, where that is taught."""


class KeypointHead(nn.Module):
    """From the coarsest map to the finest: doubled, the backbone's own finer map added, mixed, corrected by hourglasses; then a
    map and a depth each.
    """

    x: Tensor
    y: Tensor

    def __init__(self, channels: dict[int, int], base: tuple[int, int], config: ModelConfig) -> None:
        super().__init__()
        width, self.sigma = config.keypoint_width, config.keypoint_sigma
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(channels[s], width, 1) for s in SCALES if s in channels})
        self.mix = nn.ModuleDict(
            {str(s): nn.ModuleList(_mixing(width) for _ in range(count)) for s, count in zip(SCALES, (1, 2, 1), strict=True)}
        )
        for _ in range(config.keypoint_fine):
            self.mix[str(SCALES[-1])].append(_mixing(width, silent=True))  # type: ignore[operator, union-attr]
        self.hourglasses = nn.ModuleList(Hourglass(width) for _ in range(config.keypoint_hourglasses))
        self.tells_early = False
        self.read = nn.Conv2d(width, 2 * 21, 1)
        self.certainty = nn.Conv2d(width, 21, 1) if config.keypoint_depth_certainty else None
        if self.certainty is not None:
            nn.init.zeros_(self.certainty.weight)
            nn.init.zeros_(self.certainty.bias)  # type: ignore[arg-type]
        rows, columns = (SCALES[-1] * side for side in base)
        # A base that is not square saw the middle of the crop only.
        self.register_buffer("x", _centres(columns) * columns / rows, persistent=False)
        self.register_buffer("y", _centres(rows), persistent=False)

    def forward(self, maps: Maps) -> FoundKeypoints:
        """maps: by scale, as a backbone finishes them."""
        z: Tensor | None = None
        for scale, mixings in self.mix.items():
            if z is not None:
                z = interpolate(z, scale_factor=2, mode="bilinear")
            if scale in self.lateral:
                finer = self.lateral[scale](maps[int(scale)])
                z = finer if z is None else z + finer
            for mixing in mixings:  # type: ignore[attr-defined]
                z = z + mixing(z)
        stages: list[Tensor] = [z]  # type: ignore[list-item]
        for hourglass in self.hourglasses:
            stages.append(hourglass(stages[-1]))
        *early, last = stages
        with torch.autocast(last.device.type, enabled=False):
            told = tuple(self._read(z.float()) for z in early[1:]) if self.tells_early else ()
            return replace(self._read(last.float()), early=told)

    def _read(self, features: Float[Tensor, "B C H W"]) -> FoundKeypoints:
        logits, depths = self.read(features).split(21, 1)
        log_heat = logits.flatten(2).log_softmax(-1)
        heat = log_heat.exp().view_as(logits)
        across, down = heat.sum(2), heat.sum(3)  # (B, 21, W), (B, 21, H)
        x, y = across @ self.x, down @ self.y
        variance = across @ self.x.square() - x.square() + down @ self.y.square() - y.square()
        beyond = (variance - 2 * self.sigma**2).clamp(min=0)
        confidence = (1 + beyond / (2 * HEAT_SIGMA**2)).rsqrt()
        depth = (heat * depths).sum((2, 3))
        certainty = None if self.certainty is None else (heat * self.certainty(features)).sum((2, 3)).clamp(-2, 2).exp()
        return FoundKeypoints(torch.stack([x, y, confidence, depth - depth[:, :1]], -1), log_heat, features, certainty)

    def wanted_heat(self, places: Float[Tensor, "B 21 2"]) -> Float[Tensor, "B 21 N"]:
        """The maps that training asks for: a bell about each place; places outside the crop have none worth asking for."""
        x = (-(self.x - places[..., :1]).square() / (2 * self.sigma**2)).exp()
        y = (-(self.y - places[..., 1:]).square() / (2 * self.sigma**2)).exp()
        heat = (y[..., :, None] * x[..., None, :]).flatten(2) + 1e-8
        return heat / heat.sum(-1, keepdim=True)


class Hourglass(nn.Module):
    """A map looked at as a whole and corrected: halved twice, mixed, doubled again; which finger one sees shows by the others.

    It starts without effect, so that a trained head can be given one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.halve = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(2))
        self.mix = nn.ModuleList(_mixing(width) for _ in range(3))
        self.correct = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(self, z: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """H and W are multiples of four."""
        half = self.halve[0](z)
        half = half + self.mix[0](half)
        quarter = self.halve[1](half)
        quarter = quarter + self.mix[1](quarter)
        half = half + interpolate(quarter, scale_factor=2, mode="bilinear")
        half = half + self.mix[2](half)
        return z + interpolate(self.correct(half), scale_factor=2, mode="bilinear")


def merged_keypoints(own: Float[Tensor, "B 21 4"], other: Float[Tensor, "B 21 4"]) -> Float[Tensor, "B 21 4"]:
    """The model's own keypoints and the landmark network's as one, each weighted by how sure it is [ours].

    Our confidence says how far off our keypoint is. How far off the other network is cannot be told from one of its points, but
    from how far it lies from ours, in this point and over the whole hand: on plain photos the two agree, and its keypoints are
    the finer ones; where it is led astray they do not, and often it doubts that there is a hand. Its depth counts by the same
    share, and less where the two depths differ.
    """
    ours = (PLACE_SIGMA / own[..., 2].square()).square()
    apart = (own[..., :2] - other[..., :2]).square().sum(-1)
    everywhere = apart.mean(1, keepdim=True)
    fault = OTHER_SHARE * (1 + (everywhere / LED_ASTRAY).square())
    doubt = (other[..., 2] / SURE).clamp(0.8, 1) ** -DOUBT
    theirs = doubt * (fault * torch.maximum(apart, everywhere)).clamp(min=PLACE_SIGMA**2)
    share = (ours / (ours + theirs) * (other[..., 2] > 0))[..., None]
    places = own[..., :2].lerp(other[..., :2], share)
    confidence = own[..., 2:3] / (1 - share).sqrt().sqrt()
    depths_apart = (own[..., 3:] - other[..., 3:]).square().mean(1, keepdim=True)
    depth = own[..., 3:].lerp(other[..., 3:], share / (1 + depths_apart / DEPTH_AGREEMENT**2))
    return torch.cat([places, confidence.clamp(max=1), depth], -1)


def disagreement(own: Float[Tensor, "B 21 _"], other: Float[Tensor, "B 21 _"]) -> Float[Tensor, " B"]:
    """Mean distance of two sets of 2D keypoints in sizes of the hand [ours]. Two networks rarely make the same mistake."""
    size = (own[..., :2].amax(1) - own[..., :2].amin(1)).amax(-1)
    return (own[..., :2] - other[..., :2]).norm(dim=-1).mean(-1) / size.clamp(min=1e-6)


def _mixing(width: int, *, silent: bool = False) -> nn.Sequential:
    """silent: without effect at first, so that a trained head can be given one."""
    mixing = nn.Sequential(nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1), nn.GELU())
    if silent:
        nn.init.zeros_(mixing[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(mixing[1].bias)  # type: ignore[arg-type]
    return mixing


def _centres(count: int) -> Tensor:
    """Centres of `count` pixels across [-1, 1]."""
    return (2 * torch.arange(count) + 1) / count - 1
