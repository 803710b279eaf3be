"""Every size and switch of the Context-Guided Masked Transformer (paper Section 3.2, Tables 12, 16, 17).

Which value is the paper's and which is this project's stands in docs/paper.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The multi-scale image encoder."""

    backbone: str = "hand"
    """`hand`: the landmark network's trunk, 7 x 7 at scale 1; `vit-h`: ViT-H/16, 16 x 12 at scale 1; or a registered
    name."""
    scales: tuple[int, ...] = (1, 2)
    """Resolutions of the pyramid in multiples of the base map (Table 16: 1, 4, 8, 16)."""
    laterals: bool = True
    """Add the backbone's own finer maps where it has them; ViTDet's pyramid has none."""
    learns: str = "nothing"
    """Which part of the backbone trains: `nothing`, `all`, or of the hand trunk `late` or `most`."""

    def __post_init__(self) -> None:
        bad = [s for s in self.scales if s < 1 or s & (s - 1)]
        if bad or not self.scales or len(set(self.scales)) != len(self.scales):
            raise ConfigError(
                f"model.encoder.scales is {list(self.scales)}; expected distinct powers of two such as [1, 4]"
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole network beside the tokenizer."""

    encoder: EncoderConfig = EncoderConfig()
    width: int = 128
    """Channels of tokens and pyramid."""
    heads: int = 4
    feed_forward: int = 4
    """Hidden channels of the feed-forward layers, in widths."""
    coarse_layers: int = 1
    """Cross-attention layers of the coarse head."""
    mean_scale: float = 7.2
    """The camera's s of an average hand in its crop: sides per 2 m. The coarse head starts from it."""
    refinement_blocks: int = 2
    """GAPR blocks; 0 leaves GAPR out (Table 12)."""
    synthesizer_layers: int = 4
    """(Table 17: 2, 4, 6, 8)."""
    sampling_points: int = 4
    """Points per head and scale in the deformable attention."""
    sampling_reach: float = 0.0
    """How far from its reference point a sampling point may lie, crop from -1 to 1; 0: anywhere."""
    pose_context: bool = True
    """Use the 2D keypoints (Table 12)."""
    pose_depth: bool = False
    """Read the depth of 2D keypoints that have one; False is the paper's 2D pose."""
    graph_layers: int = 2
    """Layers of the 2D pose GCN."""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(f"model.width is {self.width}; it must be a multiple of model.heads, {self.heads}")
        for name in ("width", "heads", "feed_forward", "coarse_layers", "synthesizer_layers", "sampling_points"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.sampling_reach < 0:
            raise ConfigError(f"model.sampling_reach is {self.sampling_reach}; it must be at least 0")
        if self.mean_scale <= 0:
            raise ConfigError(f"model.mean_scale is {self.mean_scale}; it must be above 0")
        if self.refinement_blocks < 0 or self.graph_layers < 1:
            raise ConfigError("model.refinement_blocks must be 0 or more, model.graph_layers 1 or more")
