"""What `maskhand train model` reads from its config file."""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.errors import ConfigError
from maskhand.model.config import ModelConfig
from maskhand.training.loop import TrainConfig
from maskhand.training.losses import LossWeights


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """How tokens and keypoints are hidden in training."""

    low: float = 0.0
    high: float = 1.0
    """tau ~ U(low, high) (Table 13; the paper's best is the full range)."""
    all_hidden: float = 0.0
    """Share of samples that show no token at all, as the first round of inference does [ours]."""
    wrong_tokens: float = 0.1
    """Share of the visible tokens replaced by random ones [ours, after MoMask, which replaces hidden ones]."""
    own_tokens: float = 0.0
    """Share of samples whose visible tokens are what a first round of the model itself made of them, as at inference [ours].
    Only these teach later rounds on photos, whose tokens nobody knows."""
    outside_keypoints: float = 0.25
    """Share of samples that get the landmark network's keypoints where the model finds its own [ours]."""
    no_keypoints: float = 0.1
    """Share of samples without any 2D keypoint [ours]."""
    no_depth: float = 0.15
    """Share of samples whose keypoints come without depth, as one's own do [ours]."""
    lost_keypoints: float = 0.08
    """Share of single keypoints lost [ours]."""
    keypoint_noise: float = 0.01
    """Spread of noise on the keypoints, crop from -1 to 1 [ours]."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What stage 2 trains on: shards of cached features, by folder, or images made on the spot."""

    synthetic: str
    """A folder of shards, or `live`: images made in the loader's workers, for a backbone that learns."""
    photos: str | None = None
    photo_share: float = 0.2
    """Share of photos in a batch [ours]."""
    evaluation: str | None = None
    """Shards with truth that are only measured on."""
    shift: int = 0
    """Cells of 8 px by which the crops of shards are moved at most, anew each time [ours]."""
    repeats: int = 1
    """In how many batches a live image appears, on average: where a GPU learns faster than the workers draw [ours]."""
    warp: float = 0.0
    """How much live crops are turned, scaled, moved and recoloured anew each time; 1: by half of what they differ [ours]."""
    in_memory: bool = False
    """Keep shards in memory, photos for live images on the device that learns."""
    workers: int = 2
    """Processes that make live images."""
    backgrounds: str | None = None
    """Folder of photographs for live images."""

    def __post_init__(self) -> None:
        if not 0 <= self.photo_share < 1:
            raise ConfigError(f"data.photo_share is {self.photo_share}; it must be at least 0 and less than 1")
        if self.repeats < 1:
            raise ConfigError(f"data.repeats is {self.repeats}; it must be at least 1")
        if self.warp < 0:
            raise ConfigError(f"data.warp is {self.warp}; it must be at least 0")
        if not 0 <= self.shift <= 8:
            raise ConfigError(f"data.shift is {self.shift}; it must be from 0 to 8 cells of 8 pixels")


@dataclass(frozen=True, kw_only=True)
class ModelTraining:
    """Everything `maskhand train model` reads from its config file."""

    train: TrainConfig
    data: DataConfig
    model: ModelConfig = ModelConfig()
    loss: LossWeights = LossWeights()
    masking: MaskConfig = MaskConfig()
    tokenizer: str = "embedded"
    """Weights of stage 1: a file, or `embedded` for the shipped tokenizer."""
    backbone_rate: float = 0.1
    """Learning rate of the backbone, as a share of everything else's [ours]."""
    offset_rate: float = 1.0
    """The same for where deformable attention looks [sibling Deformable DETR: 0.1]."""
    start: str | None = None
    """Weights of an earlier run to start from; parts that it lacks keep their initial values."""
    start_without: tuple[str, ...] = ()
    """Beginnings of names of weights in it that are left at their initial values."""
    vit: str | None = None
    """A ViTPose model for backbone `vit-h` to start from: a folder or a name on the Hugging Face Hub [sibling HaMeR]."""

    def __post_init__(self) -> None:
        for name in ("fitted", "bones", "early", "parts", "parts_depth", "certainty"):
            if getattr(self.loss, name) and not self.model.keypoint_width:
                raise ConfigError(
                    f"loss.{name} is {getattr(self.loss, name)}, but the model finds no 2D keypoints: set model.keypoint_width"
                )
        if self.loss.certainty and not self.model.keypoint_depth_certainty:
            raise ConfigError(f"loss.certainty is {self.loss.certainty}: set model.keypoint_depth_certainty=true")
        if self.loss.early and self.model.keypoint_hourglasses < 2:
            raise ConfigError(
                f"loss.early is {self.loss.early}, but of {self.model.keypoint_hourglasses} hourglasses none precedes the last: "
                "set model.keypoint_hourglasses=2 or more"
            )
