"""The landmark network on crops of a photo: keypoints, presence and side of the hand in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskhand.geometry.arrays import Array, namespace, to_numpy
from maskhand.geometry.boxes import box_around, iou
from maskhand.geometry.crop import Crop, crop_around, upright_crop_of_box
from maskhand.types import Detection, Engine, Keypoints2D, Side

INPUT_PX = 224
_LYING = np.sin(np.pi / 12)  # half of 30 degrees: hands turned by more are read less exactly


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """How boxes are read."""

    box_factor: float = 1.4
    """Side of the crop around a box, in its larger sides."""
    unsure_side: float = 0.15
    """Probability of either side from which on the mirrored crop is read too."""
    sure_presence: float = 0.9
    """Presence under which a box is read in crops turned otherwise too."""
    presence: float = 0.5
    """Presence from which on there is a hand."""
    least_overlap: float = 0.2
    """IoU with its box that the keypoints' box needs to be of that hand."""
    least_size: float = 0.5
    """Larger side of the smaller of these two boxes, in the other's."""
    other_side: float = 0.1
    """Probability of the side that a hand is known to have under which the network reads another hand."""

    def fits(self, points: np.ndarray, boxes: Sequence[np.ndarray], k: int, closely: float = 1.0) -> bool:
        """Whether (21, 2) keypoints are those of the hand in box k of (N, 4) x1, y1, x2, y2, not of another one's.

        closely: so many times the overlap and the size that are asked for.
        """
        own, box = box_around(points), boxes[k]
        sides = sorted(float((x[2:] - x[:2]).max()) for x in (own, box))
        overlaps = iou(own, np.asarray(boxes))
        alike = sides[0] > closely * self.least_size * sides[1] and overlaps[k] > closely * self.least_overlap
        return bool(alike and overlaps[k] >= overlaps.max())


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

    def read_boxes(
        self,
        image: np.ndarray,
        boxes: Sequence[np.ndarray],
        angles: Sequence[float] | None = None,
        sides: Sequence[Side | None] | None = None,
    ) -> list[Detection]:
        """The hand in each box x1, y1, x2, y2 [px], however unsure; its presence is the score.

        A box in which no hand is seen, or one that does not fit it, has a `crop`, the box's own.

        Args:
            image: the photo.
            boxes: all that are asked for: what fits another one better is of that hand.
            angles: by which hands are about turned from upright, clockwise [rad]; the likeliest of four turns, if left
                out.
            sides: which hand each is, if known: the other one in a box is another hand.

        """
        if not len(boxes):
            return []
        pairs = zip(boxes, [0.0] * len(boxes) if angles is None else angles, strict=True)
        crops = [upright_crop_of_box(box, angle, self.config.box_factor) for box, angle in pairs]
        best = self._fitting(self.read(image, crops), boxes, range(len(boxes)), sides)
        seen_in = list(crops)
        unsure = [k for k, hand in enumerate(best) if angles is None and hand.score < self.config.sure_presence]
        turned = [replace(crops[k], angle=crops[k].angle + turn * np.pi / 2) for turn in (1, 2, 3) for k in unsure]
        again = self._fitting(self._read_alone(image, turned, boxes, unsure * 3), boxes, unsure * 3, sides)
        for k, crop, hand in zip(unsure * 3, turned, again, strict=True):
            if hand.score > best[k].score:
                best[k], seen_in[k] = hand, crop
        # A hand that lies in its crop is read less exactly, and often as the other one.
        upright = [crop_around(hand.xy, mirrored=False) for hand in best]
        lying = [
            k
            for k, (own, crop) in enumerate(zip(upright, seen_in, strict=True))
            if abs(np.sin((own.angle - crop.angle) / 2)) > _LYING
        ]
        raised = self._fitting(self._read_alone(image, [upright[k] for k in lying], boxes, lying), boxes, lying, sides)
        for k, hand in zip(lying, raised, strict=True):
            if hand.score > self.config.presence:
                best[k] = hand
        return [
            replace(hand, box=np.asarray(box), crop=crop)
            if hand.score < self.config.presence
            else self.with_handedness(image, replace(hand, box=np.asarray(box)))
            for hand, box, crop in zip(best, boxes, crops, strict=True)
        ]

    def _read_alone(
        self, image: np.ndarray, crops: list[Crop], boxes: Sequence[np.ndarray], of: Sequence[int]
    ) -> list[Detection]:
        """The hands in crops of boxes with these numbers, other boxes hidden."""
        shown = {k: hide_others(image, boxes, k) for k in set(of)}
        if all(view is image for view in shown.values()):
            return self.read(image, crops)
        return [self.read(shown[k], [crop])[0] for crop, k in zip(crops, of, strict=True)]

    def _fitting(
        self,
        hands: list[Detection],
        boxes: Sequence[np.ndarray],
        of: Sequence[int],
        sides: Sequence[Side | None] | None,
    ) -> list[Detection]:
        """Readings of boxes with these numbers; the presence of one that is not of its box's hand is 0."""

        def fits(hand: Detection, k: int) -> bool:
            chance = {"right": hand.right, "left": 1 - hand.right}
            wanted = sides[k] if sides else None
            return (wanted is None or chance[wanted] > self.config.other_side) and self.config.fits(hand.xy, boxes, k)

        return [hand if fits(hand, k) else replace(hand, score=0.0) for hand, k in zip(hands, of, strict=True)]

    def read_box(self, image: np.ndarray, box: np.ndarray) -> Detection:
        """The hand in one box."""
        return self.read_boxes(image, [box])[0]

    def with_handedness(self, image: np.ndarray, hand: Detection) -> Detection:
        """The hand; if its side is unsure, with the mean of what its crop and the mirrored one say (log odds)."""
        unsure = self.config.unsure_side
        if not unsure < hand.right < 1 - unsure:
            return hand
        both = self.read(image, [crop_around(hand.xy, mirrored=mirrored) for mirrored in (False, True)])
        right = np.clip([reading.right for reading in both], 1e-6, 1 - 1e-6)
        odds = np.log(right / (1 - right)).mean()
        return replace(hand, right=float(1 / (1 + np.exp(-odds))))


def hide_others(image: np.ndarray, boxes: Sequence[np.ndarray], k: int) -> np.ndarray:
    """The image with what lies in other boxes but not in box k painted grey; itself if none meets box k."""
    meeting = [box for j, box in enumerate(boxes) if j != k and iou(box, np.asarray([boxes[k]]))[0] > 0]
    if not meeting:
        return image
    shown = image.copy()
    own = _slices(boxes[k])
    for box in meeting:
        shown[_slices(box)] = 128
    shown[own] = image[own]
    return shown


def _slices(box: np.ndarray) -> tuple[slice, slice]:
    x1, y1, x2, y2 = (max(0, round(float(value))) for value in box)
    return slice(y1, y2), slice(x1, x2)


def keypoints_in_crop(points: Array, presence: Array) -> Keypoints2D:
    """The landmark network's points (B, 21, 3) and presence (B,) as keypoints, x and y in [-1, 1]; the presence is the
    confidence of each.
    """
    depth = 2 * (points[..., 2] - points[:, :1, 2])
    confidence = presence[:, None] + namespace(points).zeros_like(depth)
    return Keypoints2D(points[..., :2] * 2 - 1, confidence, depth, presence, "landmark_network", "landmark_network")
