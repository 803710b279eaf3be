"""From candidates to readings, in one batch: crops read, features once, keypoints fused, tokens unmasked; then fitted,
lifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from maskhand.detection.landmark_network import LandmarkNetwork
from maskhand.fitting.prediction_fit import fit_prediction, reprojection_error
from maskhand.geometry.crop import Crop
from maskhand.hand_model.layer import HandModel
from maskhand.inference.candidates import Candidate, Reading
from maskhand.inference.config import InferenceConfig
from maskhand.inference.crop_reading import CropReader, CropReadings, views_of
from maskhand.inference.hand_network import HandNetwork
from maskhand.inference.lift import lift
from maskhand.inference.test_time_views import average_views, views_around
from maskhand.io.photos import Photo
from maskhand.model.unmasking import Sampling
from maskhand.types import Hand, Prediction


class Reconstructor:
    """Everything between proposals and hands but their selection.

    Args:
        network: trained.
        hand_model: right hand.
        landmarks: the landmark network, on the same device.
        config: what was tuned for these weights.
        refine: fit poses to their keypoints; False leaves the network's own prediction.
        views: crops per hand whose predictions are averaged.
        sampling: how codes are chosen.

    """

    def __init__(
        self,
        network: HandNetwork,
        hand_model: HandModel,
        landmarks: LandmarkNetwork,
        config: InferenceConfig,
        *,
        refine: bool = True,
        views: int = 1,
        sampling: Sampling = Sampling(),
    ) -> None:
        self.network, self.hand_model, self.config = network, hand_model, config
        self.reader = CropReader(landmarks, network.config.crop, config.recrop)
        self.refine, self.views, self.sampling = refine, views, sampling

    def read(self, photo: Photo, candidates: Sequence[Candidate], *, steps: int) -> list[Reading]:
        """A reading per candidate, in their order."""
        readings: dict[int, Reading] = {}
        for from_user in (False, True):
            at = [
                k
                for k, candidate in enumerate(candidates)
                if (candidate.detection.points.source == "user") is from_user
            ]
            if at:
                readings |= zip(at, self._read_batch(photo, [candidates[k] for k in at], steps), strict=True)
        return [readings[k] for k in range(len(candidates))]

    def lift(self, photo: Photo, readings: Sequence[Reading]) -> list[Hand]:
        """The hands of readings in the photo's camera frame, fitted to their keypoints if `refine`."""
        if self.refine and readings:
            readings = self._fitted(readings)
        return [
            lift(self.hand_model, photo, reading, self.config.view_fit, use_keypoints=self.refine)
            for reading in readings
        ]

    def network_input(self, photo: Photo, readings: CropReadings) -> torch.Tensor | dict[int, torch.Tensor]:
        """What the image encoder takes of crops: the landmark network's maps, or their pixels."""
        size = self.network.input_px
        return readings.maps if size is None else views_of(photo.pixels, readings.crops, size, self.network.device)

    def as_readings(
        self, candidates: Sequence[Candidate], crops: Sequence[Crop], prediction: Prediction
    ) -> list[Reading]:
        """Each candidate with its row of a prediction, in the crop that was read."""
        confidence = self.config.calibration(
            prediction.spread.cpu().numpy(), prediction.heatmap_confidence.cpu().numpy()
        )
        error = reprojection_error(self.hand_model, prediction).tolist()
        return [
            Reading(replace(candidate, crop=crop), prediction.rows([k]), confidence[k], error[k])
            for k, (candidate, crop) in enumerate(zip(candidates, crops, strict=True))
        ]

    @torch.inference_mode()
    def _read_batch(self, photo: Photo, candidates: list[Candidate], steps: int) -> list[Reading]:
        readings = self.reader.read_settled(photo.pixels, candidates)
        crops = readings.crops
        if self.views > 1:
            views = [view for crop in crops for view in views_around(crop, self.views, self.config.views)]
            repeated = [candidate for candidate in candidates for _ in range(self.views)]
            readings = self.reader.read(photo.pixels, repeated, views)
        prediction = self.network.reconstruct(
            self.network_input(photo, readings),
            readings.keypoints,
            self.hand_model,
            steps=steps,
            sampling=self.sampling,
            generator=torch.Generator(self.network.device).manual_seed(0),
            fusion=self.config.fusion,
        )
        if self.views > 1:
            prediction = average_views(prediction, readings.crops, self.views)
        return self.as_readings(candidates, crops, prediction)

    @torch.inference_mode()
    def _fitted(self, readings: Sequence[Reading]) -> list[Reading]:
        fitted: dict[int, Reading] = {}
        for source in {reading.prediction.keypoints.source for reading in readings}:
            at = [k for k, reading in enumerate(readings) if reading.prediction.keypoints.source == source]
            together = Prediction.concatenate([readings[k].prediction for k in at])
            prediction = fit_prediction(self.hand_model, together, self.config.fit)
            fitted |= {k: replace(readings[k], prediction=prediction.rows([row])) for row, k in enumerate(at)}
        return [fitted[k] for k in range(len(readings))]
