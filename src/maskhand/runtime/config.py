"""Everything that the weights' shapes and meaning depend on."""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.errors import ConfigError
from maskhand.geometry.crop import CropConfig
from maskhand.keypoints.config import KeypointHeadConfig
from maskhand.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that the weights' shapes and meaning depend on, beside the tokenizer."""

    model: ModelConfig = ModelConfig()
    keypoints: KeypointHeadConfig = KeypointHeadConfig()
    crop: CropConfig = CropConfig()

    def __post_init__(self) -> None:
        if self.keypoints.context and 2 not in self.model.encoder.scales:
            raise ConfigError("keypoints.context needs 2 among model.encoder.scales")
