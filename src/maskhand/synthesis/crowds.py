"""Training photos for the hand detector, composed of cut-outs on any device: one to eight hands, of any size, turned,
cut by the frame, before and behind each other, on photos with and without hands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from maskhand.errors import ConfigError
from maskhand.synthesis.cutouts import CUTOUT_PX, Cutouts


@dataclass(frozen=True, kw_only=True)
class CrowdConfig:
    """How photos are composed."""

    size: int = 320
    """Side [px]."""
    fills_share: float = 0.3
    """Photos of hands that fill the frame, about."""
    empty_share: float = 0.42
    """Photos without a hand."""
    small_share: float = 0.13
    """Small photos of hands before another photo; the rest has cut-out hands alone."""
    entire_share: float = 0.4
    """Photos behind everything that are seen whole, beside black, as a photo is that is not square; the others fill."""
    entire: tuple[float, float] = (0.6, 1.0)
    """Larger side of such a photo, in sides of the frame."""
    bare_share: float = 0.12
    """Photos with black behind everything, as beside a photo that is not square."""
    most_cutouts: int = 6
    hand_px: tuple[float, float] = (14.0, 260.0)
    """Sizes of cut-out hands."""
    fills: tuple[float, float] = (0.7, 2.2)
    """Larger side of a photo that fills the frame, in sides of the frame."""
    small: tuple[float, float] = (0.2, 0.7)
    any_turn_share: float = 0.08
    """Photos turned by any angle; the others by some degrees."""
    least_inside: float = 0.3
    """Share of its box inside the frame that a hand needs; with less it counts neither way."""
    least_visible: float = 0.35


@dataclass
class CrowdBatch:
    """B photos of at most M hands."""

    image: Float[Tensor, "B 3 S S"]
    """In [0, 1]."""
    boxes: Float[Tensor, "B M 4"]
    """x1, y1, x2, y2 [px], clipped to the frame."""
    present: Tensor
    """(B, M) bool: a hand to find."""
    ignored: Tensor
    """(B, M) bool: a hand too hidden to be asked for."""
    right: Float[Tensor, "B M"]
    """Probability; NaN: unknown."""
    direction: Float[Tensor, "B M 2"]
    """NaN: unknown."""


class CrowdComposer:
    """Composes photos from a bank of cut-outs.

    Args:
        bank: whole photos with and without hands, and cut-out hands.
        config: how.
        device: where the bank lies and photos are made.

    Raises:
        ConfigError: the bank lacks one of the three kinds.

    """

    def __init__(self, bank: Cutouts, config: CrowdConfig = CrowdConfig(), device: str | torch.device = "cpu") -> None:
        self.config = config

        def moved(array) -> Tensor:
            return torch.from_numpy(array).to(device)

        self.pictures, self.sizes = moved(bank.pictures), moved(bank.sizes).float()
        self.outlines, self.right, self.direction = moved(bank.outlines), moved(bank.right), moved(bank.direction)
        self.whole = moved(bank.whole)
        has_hand = ~torch.isnan(self.outlines[:, 0, 0, 0])
        self.kinds = {
            "photos with hands": torch.nonzero(self.whole & has_hand)[:, 0],
            "photos without hands": torch.nonzero(self.whole & ~has_hand)[:, 0],
            "cut-out hands": torch.nonzero(~self.whole & has_hand)[:, 0],
        }
        for name, members in self.kinds.items():
            if not len(members):
                raise ConfigError(f"the cut-outs hold no {name}; write them with `maskhand data cutouts`")

    @torch.no_grad()
    def batch(self, count: int, generator: torch.Generator) -> CrowdBatch:
        """`count` photos; the generator lives on the composer's device."""
        layers = [_Layer(self, count, generator, kind) for kind in ("behind", "fills", "small", "small")]
        layers += [_Layer(self, count, generator, "cutout") for _ in range(self.config.most_cutouts)]
        draw = torch.rand(count, generator=generator, device=self.whole.device)
        config = self.config
        fills, small = draw < config.fills_share, draw > 1 - config.small_share
        empty = (draw >= config.fills_share) & (draw < config.fills_share + config.empty_share)
        crowded = torch.rand(count, generator=generator, device=draw.device)  # how many of the cut-outs are there
        crowded = torch.where(fills | small, 0.25 * crowded * (crowded < 0.4), crowded) * ~empty
        framed = (torch.rand(count, generator=generator, device=draw.device) > config.bare_share) | empty
        shown = [framed, fills, small, small & (draw > 1 - 0.6 * config.small_share)]
        shown += [
            torch.rand(count, generator=generator, device=draw.device) < crowded for _ in range(config.most_cutouts)
        ]
        side = config.size
        image = torch.zeros(count, 3, side, side, device=draw.device)
        clear = torch.ones_like(image[:, :1])
        alphas = []
        for layer, there in zip(layers, shown, strict=True):
            rows = torch.nonzero(there)[:, 0]
            if len(rows):
                picture, cover = layer.drawn(rows)
                image[rows] = image[rows] * (1 - cover) + picture * cover
            alphas.append((rows, cover if len(rows) else clear[rows]))
        hands = []
        for layer, there, (rows, cover) in zip(reversed(layers), reversed(shown), reversed(alphas), strict=True):
            if layer.kind != "behind":
                hands.append(layer.hands(there, clear))
            clear[rows] = clear[rows] * (1 - cover)
        boxes, present, ignored, right, direction = (
            torch.cat([hand[k] for hand in hands], 1) for k in range(len(hands[0]))
        )
        return CrowdBatch(_photographed(image, generator), boxes, present, ignored, right, direction)


class _Layer:
    """One picture per photo of a batch, with its place."""

    def __init__(self, composer: CrowdComposer, count: int, generator: torch.Generator, kind: str) -> None:
        self.composer, self.kind, self.config = composer, kind, composer.config
        device = composer.whole.device

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

        def normal(*shape: int) -> Tensor:
            return torch.randn(count, *shape, generator=generator, device=device)

        members = composer.kinds[
            {"behind": "photos without hands", "cutout": "cut-out hands"}.get(kind, "photos with hands")
        ]
        self.index = members[torch.randint(len(members), (count,), generator=generator, device=device)]
        side, sizes, outlines = self.config.size, composer.sizes[self.index], composer.outlines[self.index]
        hand = outlines[:, 0]
        low, high = hand.amin(1), hand.amax(1)
        middle, hand_size = (low + high) / 2, (high - low).amax(1)
        self.centre = sizes / 2
        if kind == "cutout":
            scale = _log_uniform(uniform(0.0, 1.0), *self.config.hand_px) / hand_size
            turn, self.centre, place = uniform(0.0, 2 * math.pi), middle, uniform(-0.02, 1.02, 2) * side
        else:
            reach = {"behind": (1.0, 2.5), "fills": self.config.fills, "small": self.config.small}[kind]
            scale = _log_uniform(uniform(0.0, 1.0), *reach) * side / sizes.amax(1)
            if kind == "behind":
                scale = torch.maximum(scale, side / sizes.amin(1))
                entire = uniform(0.0, 1.0) < self.config.entire_share
                scale = torch.where(entire, uniform(*self.config.entire) * side / sizes.amax(1), scale)
                self.entire = entire
            anywhere = uniform(0.0, 1.0) < self.config.any_turn_share
            turn = torch.where(anywhere, uniform(0.0, 2 * math.pi), 0.12 * normal())
            place = side / 2 + 0.1 * side * normal(2)
            if kind == "small":
                place = uniform(0.05, 0.95, 2) * side
            if kind == "fills":
                by_hand = (uniform(0.0, 1.0) < 0.5)[:, None]
                self.centre = torch.where(by_hand, middle, self.centre)
                place = torch.where(by_hand, uniform(0.1, 0.9, 2) * side, place)
        self.flipped = uniform(0.0, 1.0) < 0.5
        stretch = (0.12 * normal()).exp()
        shape = torch.stack([torch.where(self.flipped, -stretch, stretch), 1 / stretch], 1)
        cosine, sine = turn.cos(), turn.sin()
        rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
        self.matrix = scale[:, None, None] * rotation * shape[:, None]  # picture pixels -> photo pixels
        self.place = place
        self.gain = (1 + 0.12 * normal(3)) * uniform(0.6, 1.25, 1)

    def drawn(self, rows: Tensor) -> tuple[Float[Tensor, "R 3 S S"], Float[Tensor, "R 1 S S"]]:
        """The pictures of some photos where they lie, and how much of each pixel they cover."""
        side, index = self.config.size, self.index[rows]
        inverse = torch.linalg.inv(self.matrix[rows])
        # Photo in [-1, 1] -> picture in [-1, 1].
        offset = (inverse @ (side / 2 - self.place[rows])[..., None])[..., 0] + self.centre[rows]
        theta = torch.cat([inverse * side / CUTOUT_PX, (offset * 2 / CUTOUT_PX - 1)[..., None]], 2)
        grid = affine_grid(theta, [len(theta), 4, side, side], align_corners=False)
        pictures = self.composer.pictures[index].permute(0, 3, 1, 2).float() / 255
        if self.kind == "behind":  # the picture alone, repeated, not the empty rest of its square
            used = self.composer.sizes[index][:, None, None] * 2 / CUTOUT_PX
            folded = ((grid + 1) % (2 * used)) - used
            grid = torch.where(self.entire[rows, None, None, None], grid, used - folded.abs() - 1)
        warped = grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return (warped[:, :3] * self.gain[rows, :, None, None]).clamp(0, 1), warped[:, 3:]

    def hands(self, there: Tensor, clear: Float[Tensor, "B 1 S S"]) -> tuple[Tensor, ...]:
        """Boxes, presence, ignored, side and direction of the hands; `clear`: what later layers leave visible."""
        config, side = self.config, self.config.size
        outlines = self.composer.outlines[self.index]
        if self.kind == "cutout":
            outlines = outlines[:, :1]
        hands = outlines.shape[1]
        known = ~torch.isnan(outlines[..., 0, 0]) & there[:, None]
        points = (outlines.nan_to_num() - self.centre[:, None, None]) @ self.matrix.mT[:, None]
        points = points + self.place[:, None, None]
        low, high = points.amin(2), points.amax(2)
        clipped_low, clipped_high = low.clamp(0, side), high.clamp(0, side)
        inside = (clipped_high - clipped_low).prod(-1) / (high - low).prod(-1).clamp(min=1e-3)
        middle = points.mean(2, keepdim=True)
        probes = torch.cat([middle, middle + 0.45 * (points - middle), middle + 0.85 * (points - middle)], 2)
        seen = grid_sample(clear, probes * 2 / side - 1, align_corners=False, padding_mode="border")[:, 0].mean(-1)
        large = (clipped_high - clipped_low).amax(-1) >= 8
        present = known & (inside >= config.least_inside) & (seen >= config.least_visible) & large
        ignored = known & ~present & (inside > 0.02) & (seen > 0.05)
        right = self.composer.right[self.index][:, :hands]
        right = torch.where(self.flipped[:, None], 1 - right, right)
        direction = self.composer.direction[self.index][:, :hands] @ self.matrix.mT
        return torch.cat([clipped_low, clipped_high], -1), present, ignored, right, direction


def _log_uniform(share: Tensor, low: float, high: float) -> Tensor:
    return (math.log(low) + share * (math.log(high) - math.log(low))).exp()


def _photographed(image: Float[Tensor, "B 3 S S"], generator: torch.Generator) -> Float[Tensor, "B 3 S S"]:
    """Other exposure, contrast and colours, lower resolution, noise."""
    count, _, side, _ = image.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=image.device)

    grey = image.mean(1, keepdim=True)
    saturation = uniform(0.5, 1.4, 1, 1, 1) * (uniform(0.0, 1.0, 1, 1, 1) > 0.06)
    image = grey + (image - grey) * saturation
    mean = image.mean((1, 2, 3), keepdim=True)
    image = mean + (image - mean) * uniform(0.6, 1.3, 1, 1, 1)
    dark = uniform(0.0, 1.0, 1, 1, 1) < 0.07
    image = image * uniform(0.7, 1.3, 1, 1, 1) * (1 + 0.1 * (uniform(0.0, 1.0, 3, 1, 1) - 0.5))
    image = torch.where(dark, image * uniform(0.12, 0.5, 1, 1, 1), image)
    image = image.clamp(1e-4, 1) ** uniform(0.75, 1.35, 1, 1, 1)
    low = int(side / (1.2 + 2.8 * torch.rand((), generator=generator, device=image.device).item()))
    coarse = interpolate(interpolate(image, size=(low, low), mode="area"), size=(side, side), mode="bilinear")
    image = torch.where(uniform(0.0, 1.0, 1, 1, 1) < 0.3, coarse, image)
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    return (image + noise * uniform(0.0, 0.05, 1, 1, 1) * (uniform(0.0, 1.0, 1, 1, 1) < 0.5)).clamp(0, 1)
