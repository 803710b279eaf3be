"""From candidates to readings, in one batch: crops read, features once, keypoints fused, tokens unmasked; then fitted,
lifted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from maskhand.fitting.prediction_fit import fit_prediction, reprojection_error
from maskhand.geometry.arrays import Array, to_numpy
from maskhand.geometry.crop import Crop
from maskhand.hand_model.layer import HandModel
from maskhand.inference.candidates import Candidate, Reading
from maskhand.inference.config import InferenceConfig
from maskhand.inference.crop_reading import CropReader, CropReadings, views_of
from maskhand.inference.lift import lift
from maskhand.inference.test_time_views import average_views, views_around
from maskhand.io.photos import Photo
from maskhand.model.unmasking import Sampling
from maskhand.runtime.engine import HandEngine
from maskhand.runtime.reconstruction import reconstruct
from maskhand.types import Hand, Prediction

MOST_AT_ONCE = 16
"""Crops in one batch: more take memory and no less time on a CPU."""
S = TypeVar("S")
T = TypeVar("T")
Nested = Sequence[Sequence[S]]
"""Items of each of several photos."""


class Reconstructor:
    """Everything between proposals and hands but their selection.

    Args:
        engine: runs the networks.
        hand_model: right hand.
        config: what was tuned for these weights.
        refine: fit poses to their keypoints; False leaves the network's own prediction.
        views: crops per hand whose predictions are averaged.
        sampling: how codes are chosen.

    """

    def __init__(
        self,
        engine: HandEngine,
        hand_model: HandModel,
        config: InferenceConfig,
        *,
        refine: bool = True,
        views: int = 1,
        sampling: Sampling = Sampling(),
    ) -> None:
        self.engine, self.hand_model, self.config = engine, hand_model, config
        self.reader = CropReader(engine, engine.config.crop, config.recrop, config.detection.reader)
        self.refine, self.views, self.sampling = refine, views, sampling

    def read(self, photos: Sequence[Photo], candidates: Nested[Candidate], *, steps: int) -> list[list[Reading]]:
        """A reading per candidate of each photo."""

        def readings(of_photo: list[Photo], all_of_them: list[Candidate]) -> list[Reading]:
            def batch(at: list[int]) -> list[Reading]:
                return self._read_batch([of_photo[k].pixels for k in at], [all_of_them[k] for k in at], steps)

            # A user's keypoints are of another convention.
            sources = [candidate.detection.points.source == "user" for candidate in all_of_them]
            return in_batches(batch, sources, max(1, MOST_AT_ONCE // self.views))

        return by_photo(readings, photos, candidates)

    def lift(self, photos: Sequence[Photo], readings: Nested[Reading]) -> list[list[Hand]]:
        """The hands of each photo's readings in its camera frame, fitted to their keypoints if `refine`."""

        def hands(of_photo: list[Photo], all_of_them: list[Reading]) -> list[Hand]:
            if self.refine:
                sources = [reading.prediction.keypoints.source for reading in all_of_them]
                bare = all_of_them
                all_of_them = in_batches(lambda at: self._fitted([bare[k] for k in at]), sources, 4 * MOST_AT_ONCE)
            return [
                lift(
                    self.hand_model,
                    photo,
                    reading,
                    self.config.view_fit,
                    self.config.selection,
                    use_keypoints=self.refine,
                )
                for photo, reading in zip(of_photo, all_of_them, strict=True)
            ]

        return by_photo(hands, photos, readings)

    def encode(self, images: list[np.ndarray], readings: CropReadings) -> dict[str, Array]:
        """What the network's encoder makes of crops that were read in these photos."""
        size = self.engine.input_px
        if size is None:
            return self.engine.run("encode", features=readings.features)
        views = [views_of(image, [crop], size) for image, crop in zip(images, readings.crops, strict=True)]
        return self.engine.run("encode", image=self.engine.array(np.concatenate(views)))

    def as_readings(
        self, candidates: Sequence[Candidate], crops: Sequence[Crop], prediction: Prediction
    ) -> list[Reading]:
        """Each candidate with its row of a prediction, in the crop that was read."""
        confidence = self.config.calibration(to_numpy(prediction.spread), to_numpy(prediction.heatmap_confidence))
        confidence *= self.config.selection.trust(to_numpy(prediction.disagreement))[:, None]
        error = to_numpy(reprojection_error(self.hand_model, prediction)).tolist()
        return [
            Reading(replace(candidate, crop=crop), prediction.rows(slice(k, k + 1)), confidence[k], error[k])
            for k, (candidate, crop) in enumerate(zip(candidates, crops, strict=True))
        ]

    def _read_batch(self, images: list[np.ndarray], candidates: list[Candidate], steps: int) -> list[Reading]:
        readings = self.reader.read_settled(images, candidates)
        crops, shown = readings.crops, images
        if self.views > 1:
            views = [view for crop in crops for view in views_around(crop, self.views, self.config.views)]
            shown = [image for image in images for _ in range(self.views)]
            repeated = [candidate for candidate in candidates for _ in range(self.views)]
            readings = self.reader.read(shown, repeated, views)
        prediction = reconstruct(
            self.engine,
            self.encode(shown, readings),
            readings.keypoints,
            self.hand_model,
            steps=steps,
            sampling=self.sampling,
            fusion=self.config.fusion,
        )
        if self.views > 1:
            prediction = average_views(prediction, readings.crops, self.views)
        doubted = to_numpy(prediction.disagreement) > self.config.selection.gross
        crops = self.reader.placed(candidates, crops, to_numpy(prediction.keypoints.xy), doubted)
        return self.as_readings(candidates, crops, prediction)

    def _fitted(self, readings: Sequence[Reading]) -> list[Reading]:
        together = Prediction.concatenate([reading.prediction for reading in readings])
        fitted = fit_prediction(self.hand_model, together, self.config.fit)
        return [replace(reading, prediction=fitted.rows(slice(k, k + 1))) for k, reading in enumerate(readings)]


def by_photo(
    run: Callable[[list[Photo], list[S]], list[T]], photos: Sequence[Photo], items: Nested[S]
) -> list[list[T]]:
    """What `run` makes of the items of all photos at once, by photo again."""
    of_photo = [photo for photo, own in zip(photos, items, strict=True) for _ in own]
    made = iter(run(of_photo, [item for own in items for item in own]))
    return [list(islice(made, len(own))) for own in items]


def in_batches(run: Callable[[list[int]], list[T]], kinds: Sequence[object], most: int) -> list[T]:
    """What `run` makes of item numbers, in their order: in batches of one kind, of at most so many."""
    done: dict[int, T] = {}
    for kind in dict.fromkeys(kinds):
        of_kind = [k for k, own in enumerate(kinds) if own == kind]
        for first in range(0, len(of_kind), most):
            at = of_kind[first : first + most]
            done |= zip(at, run(at), strict=True)
    return [done[k] for k in range(len(kinds))]
