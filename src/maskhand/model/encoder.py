"""Multi-scale image encoder (paper Section 3.2.1): a backbone, then a pyramid in the manner of ViTDet."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from maskhand.backbones.base import Backbone, Maps
from maskhand.model.config import EncoderConfig


class Pyramid(nn.Module):
    """Maps of one width at the wanted scales: the base projected, then doubled by transposed convolutions."""

    def __init__(self, channels: dict[int, int], width: int, config: EncoderConfig) -> None:
        super().__init__()
        self.scales = tuple(sorted(config.scales))
        self.project = nn.Sequential(nn.Conv2d(channels[1], width, 1), nn.GroupNorm(1, width))
        finest = self.scales[-1]
        self.doublings = nn.ModuleDict()
        self.laterals = nn.ModuleDict()
        scale = 2
        while scale <= finest:
            self.doublings[str(scale)] = nn.Sequential(
                nn.ConvTranspose2d(width, width, 2, stride=2), nn.GroupNorm(1, width), nn.GELU()
            )
            if config.laterals and scale in channels:
                self.laterals[str(scale)] = nn.Sequential(nn.Conv2d(channels[scale], width, 1), nn.GroupNorm(1, width))
            scale *= 2

    def forward(self, maps: Maps) -> list[Float[Tensor, "B D _ _"]]:
        """Fine to coarse; the last one is always the base map."""
        x = self.project(maps[1])
        levels = {1: x}
        for name, double in self.doublings.items():
            x = double(x)
            if name in self.laterals:
                x = x + self.laterals[name](maps[int(name)])
            levels[int(name)] = x
        return [levels[s] for s in reversed(self.scales) if s > 1] + [levels[1]]


class Encoder(nn.Module):
    """Backbone and pyramid.

    Args:
        backbone: an nn.Module that is a `Backbone`; built outside, so that any will do.
        config: scales.
        width: channels of the pyramid.

    """

    def __init__(self, backbone: Backbone, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone.channels, width, config)

    def maps(self, image: Float[Tensor, "B 3 H W"] | Maps) -> Maps:
        """The backbone's maps, finished, of an image or of the landmark network's own maps of it."""
        return self.backbone.finish(image) if isinstance(image, dict) else self.backbone(image)

    def forward(self, image: Float[Tensor, "B 3 H W"] | Maps) -> list[Float[Tensor, "B D _ _"]]:
        """Levels of the pyramid, fine to coarse."""
        return self.pyramid(self.maps(image))
