"""Every number tuned on the way from photo to hands; what was tuned for weights is stored with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskhand.config import build, to_dict
from maskhand.detection.hand_detector import DetectorConfig
from maskhand.fitting.keypoint_fit import FitConfig
from maskhand.fitting.view_fit import ViewFitConfig
from maskhand.inference.calibration import Calibration
from maskhand.inference.crop_reading import RecropConfig
from maskhand.inference.proposals import ProposalConfig
from maskhand.inference.selection import SelectionConfig
from maskhand.inference.test_time_views import ViewsConfig
from maskhand.keypoints.fusion import FusionConfig

TUNED = ("recrop", "fusion", "views", "fit", "view_fit", "calibration")
"""The parts that depend on a network's weights; how hands are found and selected does not."""


@dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """How hands are detected, read, fitted and selected."""

    detection: DetectorConfig = DetectorConfig()
    proposals: ProposalConfig = ProposalConfig()
    recrop: RecropConfig = RecropConfig()
    fusion: FusionConfig = FusionConfig()
    views: ViewsConfig = ViewsConfig()
    fit: FitConfig = FitConfig()
    view_fit: ViewFitConfig = ViewFitConfig()
    selection: SelectionConfig = SelectionConfig()
    calibration: Calibration = Calibration()

    @classmethod
    def of_weights(cls, stored: Mapping[str, Any]) -> InferenceConfig:
        """What a weight file stores of it."""
        return build(cls, {key: value for key, value in stored.items() if key in TUNED})

    def to_store(self) -> dict[str, Any]:
        """What a weight file stores: the parts that were tuned for its weights."""
        return {key: value for key, value in to_dict(self).items() if key in TUNED}
