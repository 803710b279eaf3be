"""Multi-scale image encoder (paper Section 3.2.1): a backbone, then a pyramid in the manner of ViTDet."""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.detection.landmark_network import (
    POOLED_CHANNELS,
    TRUNK_CHANNELS,
    LandmarkTrunk,
    run_blocks,
    shared_landmark_network,
)
from maskhand.errors import ConfigError
from maskhand.model.config import EncoderConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FIRST_OWN = {"nothing": 14, "late": 10, "most": 4, "all": 14}
"""The first of the trunk's blocks that an own copy replaces: none, those after stride 16, those after stride 8."""
CACHED_STRIDE, CACHED_BLOCK = 8, 4
"""The map of the trunk that feature shards keep, and the block that follows it."""

Maps = dict[int, Tensor]
"""Feature maps by scale: 1 is the base, 2 has twice its resolution."""


@runtime_checkable
class Backbone(Protocol):
    """Image to maps; `channels` by scale. Frozen parts may be skipped with `finish` on cached maps."""

    channels: dict[int, int]
    base: tuple[int, int]

    def __call__(self, image: Tensor) -> Maps: ...

    def finish(self, maps: Maps) -> Maps: ...


class HandBackbone(nn.Module):
    """The landmark network's trunk: scale 1 is its last map (7 x 7 x 1152, stride 32), scale 2 its stride 16, scale 4 its 8.

    Which of its last blocks are a copy of our own that learns is said by `learns`; the trunk itself stays the landmark
    network's, whose keypoints come from it.
    """

    channels = {1: POOLED_CHANNELS, 2: TRUNK_CHANNELS[16], 4: TRUNK_CHANNELS[8]}
    base = (7, 7)
    input_px = 224

    def __init__(self, learns: str = "nothing") -> None:
        super().__init__()
        self.trunk = LandmarkTrunk()
        self.trunk.load_state_dict(shared_landmark_network().trunk.state_dict())
        self.first_own = FIRST_OWN[learns]
        self.own: nn.ModuleDict | None = None
        if self.first_own < len(self.trunk.blocks):
            copied = copy.deepcopy(self.trunk)
            blocks = {str(k): copied.blocks[k] for k in range(self.first_own, len(copied.blocks))}
            self.own = nn.ModuleDict({**blocks, "head": copied.head, "head_depthwise": copied.head_depthwise})

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Maps:
        return self.finish(by_scale(self.trunk.maps(image, self.first_own)))

    def finish(self, maps: Maps) -> Maps:
        """What follows the frozen maps: the blocks they lack, or those that are our own, and the last two layers.

        maps: by scale; at least scale 4 (stride 8), which shards keep. With more of them given less is computed again.
        """
        trunk, own = self.trunk, self.own
        if own is None:
            if 1 not in maps:
                maps = maps | by_scale(run_blocks(trunk.blocks[CACHED_BLOCK:], maps[4], CACHED_STRIDE))
            return {**maps, 1: trunk.head_depthwise(trunk.head(maps[1]))}
        if self.first_own > CACHED_BLOCK and 2 not in maps:
            maps = maps | by_scale(run_blocks(trunk.blocks[CACHED_BLOCK : self.first_own], maps[4], CACHED_STRIDE))
        start = 2 if self.first_own > CACHED_BLOCK else 4
        blocks = (own[str(k)] for k in range(self.first_own, len(trunk.blocks)))
        maps = maps | by_scale(run_blocks(blocks, maps[start], 32 // start))
        return {**maps, 1: own["head_depthwise"](own["head"](maps[1]))}


def by_scale(maps: dict[int, Tensor]) -> Maps:
    """Maps of the trunk, which come by stride."""
    return {32 // stride: x for stride, x in maps.items()}


WHOLE_BODY = 5
"""ViTPose++'s expert for COCO-WholeBody, whose annotations have hands."""


class VitBackbone(nn.Module):
    """ViT-H/16 as in HaMeR and the paper: columns 32:-32 of a 256 x 256 crop dropped, 16 x 12 tokens of 1,280 channels."""

    channels = {1: 1280}
    base = (16, 12)
    input_px = 256

    def __init__(self, *, depth: int = 32, width: int = 1280, heads: int = 16) -> None:
        super().__init__()
        try:
            from transformers import VitPoseBackbone, VitPoseBackboneConfig
        except ImportError as error:
            raise ConfigError("backbone 'vit-h' needs the package transformers: pip install 'maskhand[vit]'") from error
        self.channels = {1: width}
        self.vit = VitPoseBackbone(
            VitPoseBackboneConfig(
                image_size=[256, 192], patch_size=[16, 16], hidden_size=width, num_hidden_layers=depth,
                num_attention_heads=heads, mlp_ratio=4, qkv_bias=True,
            )
        )  # fmt: skip

    def start_from(self, name: str, expert: int = WHOLE_BODY) -> None:
        """Weights of ViTPose, or of ViTPose++ as one of its experts, of which each layer's second map has a part.

        Args:
            name: a folder, or a name on the Hugging Face Hub, of Transformers' VitPoseForPoseEstimation.
            expert: which of ViTPose++'s; the one that learned whole bodies has seen hands.

        Raises:
            ConfigError: there is none, or it is of another size.

        """
        from transformers import VitPoseForPoseEstimation

        try:
            tensors = VitPoseForPoseEstimation.from_pretrained(name).backbone.state_dict()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"vit={name!r} cannot be read as a ViTPose model: {str(error).splitlines()[0]}") from error
        for key in [key for key in tensors if f".experts.{expert}." in key]:
            shared = key.replace(f"experts.{expert}", "fc2")
            tensors[shared] = torch.cat([tensors[shared], tensors[key]])
        tensors = {key: value for key, value in tensors.items() if ".experts." not in key}
        try:
            self.vit.load_state_dict(tensors)
        except RuntimeError as error:
            size = f"{len(self.vit.encoder.layer)} layers, {self.channels[1]} wide"
            raise ConfigError(f"vit={name!r} is no ViT of {size}: {str(error).splitlines()[-1].strip()}") from error

    def forward(self, image: Float[Tensor, "B 3 256 256"]) -> Maps:
        image = (image - image.new_tensor(IMAGENET_MEAN)[:, None, None]) / image.new_tensor(IMAGENET_STD)[:, None, None]
        tokens = self.vit(image[..., 32:-32]).feature_maps[-1]  # (B, 192, C)
        return {1: tokens.transpose(1, 2).unflatten(2, self.base)}

    def finish(self, maps: Maps) -> Maps:
        return maps


def build_backbone(config: EncoderConfig) -> HandBackbone | VitBackbone:
    return HandBackbone(config.learns) if config.backbone == "hand" else VitBackbone()


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
    """Backbone and pyramid."""

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__()
        self.backbone = build_backbone(config)
        self.pyramid = Pyramid(self.backbone.channels, width, config)
        if config.learns != "all":
            self.backbone.requires_grad_(False)
        if isinstance(self.backbone, HandBackbone) and self.backbone.own is not None:
            self.backbone.own.requires_grad_(True)

    def maps(self, image: Float[Tensor, "B 3 H W"] | Maps) -> Maps:
        """The backbone's maps, finished, of an image or of cached maps of its frozen part."""
        return self.backbone.finish(image) if isinstance(image, dict) else self.backbone(image)

    def forward(self, image: Float[Tensor, "B 3 H W"] | Maps) -> list[Float[Tensor, "B D _ _"]]:
        return self.pyramid(self.maps(image))
