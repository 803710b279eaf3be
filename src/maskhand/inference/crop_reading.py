"""The landmark network's features and keypoints of candidates' crops, crops laid anew until they show their hands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maskhand.detection.landmark_reader import INPUT_PX, ReaderConfig, hide_others, keypoints_in_crop
from maskhand.geometry.arrays import Array, namespace, to_numpy
from maskhand.geometry.boxes import box_around
from maskhand.geometry.crop import Crop, CropConfig, crop_around, upright_crop_of_box
from maskhand.inference.candidates import Candidate
from maskhand.types import KEYPOINT_ARRAYS, Engine, Keypoints2D

_CLOSELY = 1.4


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


@dataclass(eq=False)
class _State:
    """Readings while crops move."""

    crops: list[Crop]
    features: Array
    keypoints: Keypoints2D

    @property
    def seen(self) -> np.ndarray:
        """(B, 21, 2) the keypoints [px of the photo]."""
        return np.stack([crop.to_photo(xy) for crop, xy in zip(self.crops, to_numpy(self.keypoints.xy), strict=True)])


class CropReader:
    """Reads crops with the landmark network.

    Args:
        engine: runs it.
        crop: how crops are laid. The network reads upright hands; of axis-aligned crops the detection's keypoints
            stand.
        recrop: when they are laid anew.
        reading: when keypoints are those of the hand in a box.

    """

    def __init__(
        self,
        engine: Engine,
        crop: CropConfig,
        recrop: RecropConfig = RecropConfig(),
        reading: ReaderConfig = ReaderConfig(),
    ) -> None:
        self.engine, self.crop, self.recrop, self.reading = engine, crop, recrop, reading

    def read(
        self,
        images: list[np.ndarray],
        candidates: list[Candidate],
        crops: list[Crop] | None = None,
        shown: list[np.ndarray] | None = None,
    ) -> CropReadings:
        """Features and keypoints of the candidates' crops, or of `crops` in their place; `images`: each one's photo,
        `shown`: what is seen of it.
        """
        crops = [candidate.crop for candidate in candidates] if crops is None else crops
        views = np.stack([crop.extract(image, INPUT_PX) for crop, image in zip(crops, shown or images, strict=True)])
        outputs = self.engine.run("landmarks", image=self.engine.array(views))
        known = self.engine.array(np.array([candidate.side_given for candidate in candidates], np.float32))
        # In a crop mirrored for its side every hand looks right; one that does not is another hand.
        presence = outputs["presence"] * (1 - known * (outputs["right"] < self.reading.other_side))
        keypoints = keypoints_in_crop(outputs["points"], presence)
        from_user = any(candidate.detection.points.source == "user" for candidate in candidates)
        if not self.crop.upright or from_user:
            pairs = zip(candidates, crops, strict=True)
            keypoints = self._stacked([_in_crop(candidate.detection.points, crop) for candidate, crop in pairs])
            return CropReadings(crops, outputs["features"], keypoints)
        return CropReadings(crops, outputs["features"], self._of_their_boxes(candidates, crops, keypoints))

    def read_settled(self, images: list[np.ndarray], candidates: list[Candidate]) -> CropReadings:
        """The same; a crop that shows its hand elsewhere than expected is laid anew and read again."""
        readings = self.read(images, candidates)
        if not self.crop.upright or any(candidate.detection.points.source == "user" for candidate in candidates):
            return readings
        state = _State(list(readings.crops), readings.features, readings.keypoints)
        nowhere = np.flatnonzero(to_numpy(readings.keypoints.presence) == 0).tolist()
        boxed = [k for k in nowhere if candidates[k].detection.crop is None]
        for k in boxed:
            state.crops[k] = upright_crop_of_box(
                candidates[k].detection.box,
                state.crops[k].angle,
                self.reading.box_factor,
                mirrored=state.crops[k].mirrored,
            )
        fixed = {*boxed, *(k for k, candidate in enumerate(candidates) if candidate.detection.crop is not None)}
        self._again(images, candidates, state, sorted(fixed), alone=True)
        around = np.stack([candidate.detection.points.xy for candidate in candidates])
        for _ in range(self.recrop.rounds):
            seen = state.seen
            distance = np.linalg.norm(seen - around, axis=2).mean(1)
            fits = self._fit(candidates, seen)
            moved = [
                k
                for k, crop in enumerate(state.crops)
                if distance[k] > self.recrop.moved * crop.side and k not in fixed and fits[k]
            ]
            if not moved:
                break
            around = seen
            for k in moved:
                state.crops[k] = crop_around(seen[k], mirrored=state.crops[k].mirrored, config=self.crop)
            self._again(images, candidates, state, moved)
        return CropReadings(state.crops, state.features, state.keypoints)

    def _again(
        self, images: list[np.ndarray], candidates: list[Candidate], state: _State, at: list[int], alone: bool = False
    ) -> None:
        """Read some candidates' crops once more, which have moved; `alone`: without what lies in other boxes."""
        if not at:
            return
        shown = [images[k] for k in at]
        if alone:
            shown = [hide_others(images[k], candidates[k].boxes, 0) for k in at]
        again = self.read([images[k] for k in at], [candidates[k] for k in at], [state.crops[k] for k in at], shown)
        state.features = _replaced(state.features, at, again.features)
        arrays: dict[str, Any] = {
            name: _replaced(getattr(state.keypoints, name), at, getattr(again.keypoints, name))
            for name in KEYPOINT_ARRAYS
        }
        state.keypoints = replace(state.keypoints, **arrays)

    def placed(self, candidates: list[Candidate], crops: list[Crop], xy: np.ndarray, doubted: np.ndarray) -> list[Crop]:
        """The crops; where the hand seen in one, (B, 21, 2), does not fit its box, one laid so that it does.

        A box is a contract: what was read elsewhere keeps its pose, not its place. Doubted hands, (B,) bool, have to
        fit more closely.
        """
        seen = np.stack([crop.to_photo(points) for crop, points in zip(crops, xy, strict=True)])
        fits = [
            self.reading.fits(points, candidate.boxes, 0, _CLOSELY if doubt else 1.0)
            for points, candidate, doubt in zip(seen, candidates, doubted.tolist(), strict=True)
        ]
        return [
            crop
            if fit or candidate.detection.points.source == "user"
            else _moved(crop, points, candidate.detection.box)
            for fit, crop, points, candidate in zip(fits, crops, seen, candidates, strict=True)
        ]

    def _fit(self, candidates: list[Candidate], seen: np.ndarray) -> list[bool]:
        """Whether hands seen (B, 21, 2) [px of the photo] are those of the candidates' boxes."""
        return [self.reading.fits(xy, candidate.boxes, 0) for xy, candidate in zip(seen, candidates, strict=True)]

    def _of_their_boxes(self, candidates: list[Candidate], crops: list[Crop], keypoints: Keypoints2D) -> Keypoints2D:
        """Keypoints that do not fit the box they were asked for count for nothing: they are of another hand."""
        seen = np.stack([crop.to_photo(xy) for crop, xy in zip(crops, to_numpy(keypoints.xy), strict=True)])
        known = self.engine.array(np.array(self._fit(candidates, seen), np.float32))
        return replace(keypoints, confidence=keypoints.confidence * known[:, None], presence=keypoints.presence * known)

    def _stacked(self, parts: list[Keypoints2D]) -> Keypoints2D:
        """A batch of hands' keypoints of one convention and source, on the engine's device."""
        arrays: dict[str, Any] = {
            name: self.engine.array(np.stack([getattr(part, name) for part in parts]).astype(np.float32))
            for name in KEYPOINT_ARRAYS
        }
        return replace(parts[0], **arrays)


def _moved(crop: Crop, points: np.ndarray, box: np.ndarray) -> Crop:
    """The crop laid so that points (21, 2) [px of the photo] seen in it fill a box."""
    own = box_around(points)
    scale = float((box[2:] - box[:2]).max() / (own[2:] - own[:2]).max())
    centre = (box[:2] + box[2:]) / 2 + scale * (np.array(crop.centre) - (own[:2] + own[2:]) / 2)
    return replace(crop, centre=(float(centre[0]), float(centre[1])), side=crop.side * scale)


def _replaced(rows: Array, at: list[int], new: Array) -> Array:
    """With new rows in place of some."""
    source = list(range(rows.shape[0]))
    for k, row in enumerate(at):
        source[row] = rows.shape[0] + k
    return namespace(rows).concat([rows, new], axis=0)[source]


def _in_crop(keypoints: Keypoints2D, crop: Crop) -> Keypoints2D:
    """Keypoints of a photo as a crop shows them."""
    return replace(keypoints, xy=crop.to_crop(keypoints.xy), depth=keypoints.depth * 2 / crop.side)
