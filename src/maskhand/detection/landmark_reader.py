"""The landmark network on crops of a photo: keypoints, presence and side of the hand in each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskhand.geometry.arrays import Array, namespace, to_numpy
from maskhand.geometry.boxes import box_around
from maskhand.geometry.crop import Crop, crop_around, crop_of_box
from maskhand.types import Detection, Engine, Keypoints2D

INPUT_PX = 224


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """How boxes are read."""

    box_factor: float = 1.2
    """Side of the crop around a box, in its larger sides."""
    unsure_side: float = 0.15
    """Probability of either side from which on the mirrored crop is read too."""


class LandmarkReader:
    """Reads hands in crops and boxes of a photo."""

    def __init__(self, engine: Engine, config: ReaderConfig = ReaderConfig()) -> None:
        self.engine, self.config = engine, config

    def read(self, image: np.ndarray, crops: list[Crop]) -> list[Detection]:
        """The hand in each crop of an RGB uint8 image, however unsure; its presence is the score."""
        if not crops:
            return []
        views = np.stack([crop.extract(image, INPUT_PX) for crop in crops])
        outputs = self.engine.run("landmarks", image=self.engine.array(views))
        points, world = to_numpy(outputs["points"]), to_numpy(outputs["world"])
        presences, rights = to_numpy(outputs["presence"]), to_numpy(outputs["right"])
        hands = []
        for k, crop in enumerate(crops):
            presence, right = float(presences[k]), float(rights[k])
            keypoints = Keypoints2D(
                xy=crop.to_photo(points[k, :, :2] * 2 - 1).astype(np.float32),
                confidence=np.full(21, presence, np.float32),
                depth=(points[k, :, 2] - points[k, 0, 2]) * crop.side,
                presence=presence,
                convention="landmark_network",
                source="landmark_network",
            )
            hands.append(
                Detection(
                    box=box_around(keypoints.xy),
                    score=presence,
                    right=1 - right if crop.mirrored else right,
                    keypoints=keypoints,
                    world=(world[k] * ([-1, 1, 1] if crop.mirrored else 1)) @ crop.camera_rotation().T,
                )
            )
        return hands

    def read_upright(self, image: np.ndarray, crops: list[Crop]) -> list[tuple[Detection, Detection]]:
        """The hands in crops whose angle says nothing: as they are, then turned upright by the keypoints of that."""
        first = self.read(image, crops)
        upright = [crop_around(hand.xy, mirrored=False) for hand in first]
        return list(zip(first, self.read(image, upright), strict=True))

    def read_box(self, image: np.ndarray, box: np.ndarray) -> Detection:
        """The hand in a box x1, y1, x2, y2 [px], however unsure."""
        crop = crop_of_box(box, mirrored=False, factor=self.config.box_factor)
        return self.with_handedness(image, self.read_upright(image, [crop])[0][1])

    def with_handedness(self, image: np.ndarray, hand: Detection) -> Detection:
        """The hand; if its side is unsure, with the mean of what its crop and the mirrored one say (log odds)."""
        unsure = self.config.unsure_side
        if not unsure < hand.right < 1 - unsure:
            return hand
        both = self.read(image, [crop_around(hand.xy, mirrored=mirrored) for mirrored in (False, True)])
        right = np.clip([reading.right for reading in both], 1e-6, 1 - 1e-6)
        odds = np.log(right / (1 - right)).mean()
        return replace(hand, right=float(1 / (1 + np.exp(-odds))))


def keypoints_in_crop(points: Array, presence: Array) -> Keypoints2D:
    """The landmark network's points (B, 21, 3) and presence (B,) as keypoints, x and y in [-1, 1]; the presence is the
    confidence of each.
    """
    depth = 2 * (points[..., 2] - points[:, :1, 2])
    confidence = presence[:, None] + namespace(points).zeros_like(depth)
    return Keypoints2D(points[..., :2] * 2 - 1, confidence, depth, presence, "landmark_network", "landmark_network")
