"""What `maskhand train model` reads from its config file."""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.errors import ConfigError
from maskhand.inference.config import InferenceConfig
from maskhand.runtime.config import NetworkConfig
from maskhand.training.extra_losses import ExtraLosses
from maskhand.training.masking import MaskConfig
from maskhand.training.paper_losses import PaperLosses
from maskhand.training.schedule import TrainConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What stage 2 trains on: shards of cached features, by folder, or images made on the spot."""

    synthetic: str
    """A folder of shards, or `live`: images made in the loader's workers, for a backbone that learns whole, or a GPU.
    """
    photos: str | None = None
    photo_share: float = 0.2
    """Share of photos in a batch."""
    evaluation: str | None = None
    """Shards with truth that are only measured on."""
    shift: int = 0
    """Cells of 8 px by which the crops of shards are shifted at most, anew each time."""
    repeats: int = 1
    """In how many batches a live image appears, on average: where a GPU learns faster than the workers draw."""
    augment: float = 0.0
    """How much live crops are turned, scaled, shifted and recoloured anew each time; 1: by half of what they differ."""
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
        if self.augment < 0:
            raise ConfigError(f"data.augment is {self.augment}; it must be at least 0")
        if not 0 <= self.shift <= 8:
            raise ConfigError(f"data.shift is {self.shift}; it must be from 0 to 8 cells of 8 pixels")

    @property
    def live(self) -> bool:
        return self.synthetic == "live"


@dataclass(frozen=True, kw_only=True)
class ModelTraining:
    """Everything `maskhand train model` reads from its config file."""

    train: TrainConfig
    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    loss: PaperLosses = PaperLosses()
    extra_loss: ExtraLosses = ExtraLosses()
    masking: MaskConfig = MaskConfig()
    inference: InferenceConfig = InferenceConfig()
    """Fusion and fit, which training goes through; stored with the weights."""
    tokenizer: str = "embedded"
    """Weights of stage 1: a file, or `embedded` for the shipped tokenizer."""
    backbone_rate: float = 0.1
    """Learning rate of the backbone, as a share of everything else's."""
    offset_rate: float = 1.0
    """The same for the offsets of deformable attention (Deformable DETR: 0.1)."""
    start: str | None = None
    """Weights of an earlier run to start from; parts that it lacks keep their initial values, which is said."""
    vit: str | None = None
    """A ViTPose model for backbone `vit-h` to start from: a folder or a name on the Hugging Face Hub (HaMeR)."""

    def __post_init__(self) -> None:
        head, extra, encoder = self.network.keypoints, self.extra_loss, self.network.model.encoder
        for name in ("fitted", "bone_depth", "intermediate", "parts", "parts_depth", "certainty"):
            if getattr(extra, name) and not head.width:
                raise ConfigError(
                    f"extra_loss.{name} is {getattr(extra, name)}, but the network finds no 2D keypoints: "
                    "set network.keypoints.width"
                )
        if extra.certainty and not head.depth_certainty:
            raise ConfigError(f"extra_loss.certainty is {extra.certainty}: set network.keypoints.depth_certainty=true")
        if extra.intermediate and head.hourglasses < 2:
            raise ConfigError(
                f"extra_loss.intermediate is {extra.intermediate}, "
                f"but of {head.hourglasses} hourglasses none precedes the last: "
                "set network.keypoints.hourglasses=2 or more"
            )
        if not self.data.live and (encoder.learns == "all" or encoder.backbone != "hand"):
            raise ConfigError(
                f"a backbone '{encoder.backbone}' that learns '{encoder.learns}' needs images: set data.synthetic=live"
            )
        folders = (self.data.photos, self.data.evaluation)
        if not self.network.crop.upright and not (self.data.live and folders == (None, None)):
            raise ConfigError(
                "shards hold upright crops: network.crop.upright=false needs data.synthetic=live, "
                "data.photos and evaluation none"
            )
        if self.vit and (encoder.backbone != "vit-h" or self.start):
            raise ConfigError(
                f"vit={self.vit!r} starts a network.model.encoder.backbone of 'vit-h' without a start: "
                "set start=none, or vit=none"
            )
