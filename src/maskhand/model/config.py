"""Every size and switch of the Context-Guided Masked Transformer (paper Section 3.2, Tables 12, 16, 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maskhand.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The multi-scale image encoder."""

    backbone: Literal["hand", "vit-h"] = "hand"
    """`hand`: the landmark network's trunk, 7 x 7 at scale 1 [ours]; `vit-h`: ViT-H/16, 16 x 12 at scale 1 [paper]."""
    scales: tuple[int, ...] = (1, 2)
    """Resolutions of the pyramid in multiples of the base map [paper: 1, 4; Table 16 has 1, 4, 8, 16]."""
    laterals: bool = True
    """Add the backbone's own finer maps where it has them [ours; ViTDet has none]."""
    learns: Literal["nothing", "late", "most", "all"] = "nothing"
    """Which part of the backbone trains: `late` and `most` are copies of the hand trunk's blocks after stride 16 and 8 [ours]."""

    def __post_init__(self) -> None:
        if self.learns in ("late", "most") and self.backbone != "hand":
            raise ConfigError(
                f"model.encoder.learns is {self.learns!r}, which only the backbone 'hand' knows; use 'nothing' or 'all'"
            )
        bad = [s for s in self.scales if s < 1 or s & (s - 1)]
        if bad or not self.scales or len(set(self.scales)) != len(self.scales):
            raise ConfigError(f"model.encoder.scales is {list(self.scales)}; expected distinct powers of two such as [1, 4]")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole network beside the tokenizer. Lists of the paper's own sizes are in configs/."""

    encoder: EncoderConfig = EncoderConfig()
    width: int = 128
    """Channels of tokens and pyramid [ours]."""
    heads: int = 4
    """[ours]."""
    feed_forward: int = 4
    """Hidden channels of the feed-forward layers, in widths [ours]."""
    coarse_layers: int = 1
    """Cross-attention layers of the coarse head [ours]."""
    refinement_blocks: int = 2
    """GAPR blocks [paper]; 0 leaves GAPR out (Table 12)."""
    synthesizer_layers: int = 4
    """[paper] (Table 17: 2, 4, 6, 8)."""
    sampling_points: int = 4
    """Points per head and scale in the deformable attention [sibling: Deformable DETR]."""
    sampling_reach: float = 0.0
    """How far from its reference a point may lie, crop from -1 to 1; 0: anywhere. Without a bound all layers but the first came
    to look beyond the crop, from where no gradient leads back [ours]."""
    pose_context: bool = True
    """Use the 2D keypoints (Table 12)."""
    keypoint_width: int = 0
    """Channels of a head that finds the 2D keypoints itself [ours]; 0: they come from outside, as in the paper."""
    keypoint_hourglasses: int = 0
    """Hourglasses that correct that head's maps [ours; Newell et al.]."""
    keypoint_fine: int = 0
    """Further mixings of that head's finest map [ours]."""
    keypoint_sigma: float = 0.1
    """Spread of the maps that its training asks for, crop from -1 to 1 [ours]."""
    keypoint_depth_certainty: bool = False
    """Let that head say how near each depth is, for the fit [ours]."""
    keypoint_context: bool = False
    """Let the synthesizer see that head's last map beside the pyramid's of scale 2 [ours]."""
    pose_depth: bool = False
    """Give the 2D pose the landmark network's own guess of each keypoint's depth [ours]; False is the paper's 2D pose."""
    graph_layers: int = 2
    """Layers of the 2D pose GCN [ours]."""
    dropout: float = 0.0
    upright_crop: bool = True
    """Turn crops so that wrist -> middle MCP points up [ours]; False is the paper's axis-aligned box."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"model.width is {self.width}; it must be a multiple of model.heads, {self.heads}")
        for name in ("width", "heads", "feed_forward", "coarse_layers", "synthesizer_layers", "sampling_points"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.sampling_reach < 0:
            raise ConfigError(f"model.sampling_reach is {self.sampling_reach}; it must be at least 0")
        if self.keypoint_width < 0 or self.keypoint_width % 8:
            raise ConfigError(f"model.keypoint_width is {self.keypoint_width}; it must be 0 or a multiple of 8")
        for name in ("keypoint_hourglasses", "keypoint_fine"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; it must be 0 or more")
        if self.keypoint_sigma <= 0:
            raise ConfigError(f"model.keypoint_sigma is {self.keypoint_sigma}; it must be above 0")
        if self.keypoint_context and not (self.keypoint_width and 2 in self.encoder.scales):
            raise ConfigError("model.keypoint_context needs model.keypoint_width above 0 and 2 among model.encoder.scales")
        if self.refinement_blocks < 0 or self.graph_layers < 1:
            raise ConfigError("model.refinement_blocks must be 0 or more, model.graph_layers 1 or more")
