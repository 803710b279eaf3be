"""Every number tuned on the way from photo to hands, stored with the weights it was tuned for."""

from __future__ import annotations

from dataclasses import dataclass

from maskhand.detection.hand_detector import DetectorConfig
from maskhand.fitting.keypoint_fit import FitConfig
from maskhand.fitting.view_fit import ViewFitConfig
from maskhand.inference.calibration import Calibration
from maskhand.inference.crop_reading import RecropConfig
from maskhand.inference.proposals import ProposalConfig
from maskhand.inference.selection import SelectionConfig
from maskhand.inference.test_time_views import ViewsConfig
from maskhand.keypoints.fusion import FusionConfig


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
