"""The landmark network's features and keypoints of candidates' crops, crops laid anew until they show their hands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maskhand.detection.landmark_reader import INPUT_PX, keypoints_in_crop
from maskhand.geometry.arrays import Array, namespace, to_numpy
from maskhand.geometry.crop import Crop, CropConfig, crop_around
from maskhand.inference.candidates import Candidate
from maskhand.types import KEYPOINT_ARRAYS, Engine, Keypoints2D


@dataclass(frozen=True, kw_only=True)
class RecropConfig:
    """When a crop is laid anew."""

    rounds: int = 3
    """The most re-crops: each shows more of a hand that reaches beyond its crop."""
    moved: float = 0.03
    """Mean distance, in sides of the crop, between the keypoints it was laid around and those read in it, from which
    on it is."""


@dataclass(frozen=True, eq=False)
class CropReadings:
    """What the landmark network makes of a batch of crops."""

    crops: list[Crop]
    features: Array
    """(B, C, H, W) its map of stride 8."""
    keypoints: Keypoints2D
    """In the crops."""


def views_of(image: np.ndarray, crops: list[Crop], size: int) -> np.ndarray:
    """(n, size, size, 3) crops of an RGB uint8 image."""
    return np.stack([crop.extract(image, size) for crop in crops])


class CropReader:
    """Reads crops with the landmark network.

    Args:
        engine: runs it.
        crop: how crops are laid. The network reads upright hands; of axis-aligned crops the detection's keypoints
            stand.
        recrop: when they are laid anew.

    """

    def __init__(self, engine: Engine, crop: CropConfig, recrop: RecropConfig = RecropConfig()) -> None:
        self.engine, self.crop, self.recrop = engine, crop, recrop

    def read(
        self, images: list[np.ndarray], candidates: list[Candidate], crops: list[Crop] | None = None
    ) -> CropReadings:
        """Features and keypoints of the candidates' crops, or of `crops` in their place; `images`: each one's photo."""
        crops = [candidate.crop for candidate in candidates] if crops is None else crops
        views = np.stack([crop.extract(image, INPUT_PX) for crop, image in zip(crops, images, strict=True)])
        outputs = self.engine.run("landmarks", image=self.engine.array(views))
        keypoints = keypoints_in_crop(outputs["points"], outputs["presence"])
        from_user = any(candidate.detection.points.source == "user" for candidate in candidates)
        if not self.crop.upright or from_user:
            pairs = zip(candidates, crops, strict=True)
            keypoints = self._stacked([_in_crop(candidate.detection.points, crop) for candidate, crop in pairs])
        return CropReadings(crops, outputs["features"], keypoints)

    def read_settled(self, images: list[np.ndarray], candidates: list[Candidate]) -> CropReadings:
        """The same; a crop that shows its hand elsewhere than expected is laid anew and read again."""
        readings = self.read(images, candidates)
        if not self.crop.upright or any(candidate.detection.points.source == "user" for candidate in candidates):
            return readings
        crops, features, keypoints = list(readings.crops), readings.features, readings.keypoints
        around = np.stack([candidate.detection.points.xy for candidate in candidates])
        for _ in range(self.recrop.rounds):
            seen = np.stack([crop.to_photo(xy) for crop, xy in zip(crops, to_numpy(keypoints.xy), strict=True)])
            distance = np.linalg.norm(seen - around, axis=2).mean(1)
            moved = [k for k, crop in enumerate(crops) if distance[k] > self.recrop.moved * crop.side]
            if not moved:
                break
            around = seen
            for k in moved:
                crops[k] = crop_around(seen[k], mirrored=crops[k].mirrored, config=self.crop)
            again = self.read([images[k] for k in moved], [candidates[k] for k in moved], [crops[k] for k in moved])
            features = _replaced(features, moved, again.features)
            arrays: dict[str, Any] = {
                name: _replaced(getattr(keypoints, name), moved, getattr(again.keypoints, name))
                for name in KEYPOINT_ARRAYS
            }
            keypoints = replace(keypoints, **arrays)
        return CropReadings(crops, features, keypoints)

    def _stacked(self, parts: list[Keypoints2D]) -> Keypoints2D:
        """A batch of hands' keypoints of one convention and source, on the engine's device."""
        arrays: dict[str, Any] = {
            name: self.engine.array(np.stack([getattr(part, name) for part in parts]).astype(np.float32))
            for name in KEYPOINT_ARRAYS
        }
        return replace(parts[0], **arrays)


def _replaced(rows: Array, at: list[int], new: Array) -> Array:
    """With new rows in place of some."""
    source = list(range(rows.shape[0]))
    for k, row in enumerate(at):
        source[row] = rows.shape[0] + k
    return namespace(rows).concat([rows, new], axis=0)[source]


def _in_crop(keypoints: Keypoints2D, crop: Crop) -> Keypoints2D:
    """Keypoints of a photo as a crop shows them."""
    return replace(keypoints, xy=crop.to_crop(keypoints.xy), depth=keypoints.depth * 2 / crop.side)
