"""Photo to detected hands. `HandFinder` is the built-in way; anything with the same `find` can take its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from maskhand.detection.landmark_network import INPUT_PX, LandmarkNetwork, shared_landmark_network
from maskhand.detection.palm_detector import PalmDetector, iou
from maskhand.geometry.crop import Crop, crop_around, crop_of_box
from maskhand.records import DetectedHand

PRESENCE_THRESHOLD = 0.5
DUPLICATE_IOU, DUPLICATE_DISTANCE = 0.55, 0.25
"""Overlap of boxes, or mean distance of keypoints in sizes of the hand, from which on two finds are one hand."""
SURE_PRESENCE = 0.9
"""Presence of the surest hand from which on no closer look is taken: a crop that cuts a hand rarely has it [ours]."""
FILLING_PRESENCE = 0.8
"""Presence that a photo taken for a hand's crop must have, twice [ours]."""
UNSURE_SIDE = 0.15
"""Probability of either side from which on the mirrored picture is asked too [ours]."""
WIDER = (1.0, 1.5, 2.2, 3.3, 5.0)
"""Sizes of the crops about a doubted hand, in its own: from the hand itself to one of which a fingertip was found [ours]."""
INSIDE, HALF_INSIDE, TINY = 0.7, 0.5, 1 / 9
"""Share of a box inside that of another hand of the same side, from which on it is part of it: a fingertip taken for a hand;
the same whatever its side if one of them is unsure, or the box has less than `TINY` of the other's area."""


@runtime_checkable
class HandProvider(Protocol):
    """Finds hands with 21 keypoints each, in a photo or in given boxes."""

    def find(self, image: np.ndarray) -> list[DetectedHand]:
        """All hands of an RGB uint8 image, surest first."""
        ...

    def find_in_box(self, image: np.ndarray, box: np.ndarray) -> DetectedHand:
        """The hand in a box (x1, y1, x2, y2) [px], however unsure."""
        ...


def _whole(image: np.ndarray) -> Crop:
    height, width = image.shape[:2]
    return crop_of_box(np.array([0, 0, width, height]), mirrored=False, factor=1.0)


def share_inside(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the smaller of two boxes (x1, y1, x2, y2) that lies inside the other."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    smaller = min(float((box[2:] - box[:2]).prod()) for box in (one, other))
    return float((high - low).clip(0).prod()) / max(smaller, 1e-6)


def same_hand(one: DetectedHand, other: DetectedHand) -> bool:
    """Whether two finds are the same hand seen twice."""
    distance = np.linalg.norm(one.keypoints[:, :2] - other.keypoints[:, :2], axis=1).mean()
    size = max(float(np.ptp(hand.keypoints[:, :2], axis=0).max()) for hand in (one, other))
    smaller, larger = sorted(float((hand.box[2:] - hand.box[:2]).prod()) for hand in (one, other))
    inside = share_inside(one.box, other.box)
    alike = one.side == other.side or min(one.score, other.score) < SURE_PRESENCE
    if (alike and inside > INSIDE) or (smaller < TINY * larger and inside > HALF_INSIDE):
        return True
    return bool(iou(one.box, other.box[None])[0] > DUPLICATE_IOU or distance < DUPLICATE_DISTANCE * size)


class HandFinder:
    """Google's palm detector and landmark network: palms, then 21 keypoints in an upright crop around each."""

    def __init__(self, detector: PalmDetector | None = None, landmarks: LandmarkNetwork | None = None) -> None:
        self.detector = detector or PalmDetector()
        self.landmarks = landmarks or shared_landmark_network()

    def find(self, image: np.ndarray) -> list[DetectedHand]:
        """Hands around the palms of a first look; if none is sure, beside those of a closer one; if none is sure there either,
        beside the photo itself as a hand's crop: the palm of a hand that fills it is too large for the detector.
        """
        ranked: list[tuple[float, DetectedHand]] = []
        for palms in self.detector.looks(image):
            hands = self.read(image, [palm.crop() for palm in palms])
            pairs = [(hand.score * palm.score, hand) for hand, palm in zip(hands, palms, strict=True)]
            ranked += [(rank, hand) for rank, hand in pairs if hand.score > PRESENCE_THRESHOLD]
            if any(hand.score > SURE_PRESENCE for _, hand in ranked):
                break
        else:
            first, hand = self._turned(image, [_whole(image)])[0]
            presence = min(first.score, hand.score)
            if presence > FILLING_PRESENCE:
                ranked.append((presence, hand))
        kept: list[DetectedHand] = []
        for _, hand in sorted(ranked, key=lambda pair: -pair[0]):
            if not any(same_hand(hand, other) for other in kept):
                kept.append(hand)
        return [self._sided(image, hand) for hand in kept]

    def find_in_box(self, image: np.ndarray, box: np.ndarray) -> DetectedHand:
        return self._sided(image, self._turned(image, [crop_of_box(box, mirrored=False)])[0][1])

    def last_look(self, image: np.ndarray) -> list[DetectedHand]:
        """Hands of an image in which nothing was found (`PalmDetector.last_look`), surest first; most of them are none."""
        hands = self.read(image, [palm.crop() for palm in self.detector.last_look(image)])
        present = [hand for hand in hands if hand.score > PRESENCE_THRESHOLD]
        return [self._sided(image, hand) for hand in sorted(present, key=lambda hand: -hand.score)]

    def look_around(self, image: np.ndarray, box: np.ndarray) -> list[DetectedHand]:
        """What crops of several sizes about a box (x1, y1, x2, y2) [px] show, and the whole image: hands that are sure."""
        crops = [crop_of_box(box, mirrored=False, factor=1.2 * size) for size in WIDER]
        looks = self._turned(image, [*crops, _whole(image)])
        return [self._sided(image, hand) for _, hand in looks if hand.score > SURE_PRESENCE]

    def _turned(self, image: np.ndarray, crops: list[Crop]) -> list[tuple[DetectedHand, DetectedHand]]:
        """The hands in crops that say nothing about their turn: seen upright, then the way their keypoints point."""
        first = self.read(image, crops)
        return list(zip(first, self.read(image, [crop_around(hand.keypoints, mirrored=False) for hand in first]), strict=True))

    def _sided(self, image: np.ndarray, hand: DetectedHand) -> DetectedHand:
        """The hand; if its side is unsure, the mean of what the network says of its crop and of the mirrored one (log odds)."""
        if not UNSURE_SIDE < hand.right < 1 - UNSURE_SIDE:
            return hand
        both = self.read(image, [crop_around(hand.keypoints, mirrored=mirrored) for mirrored in (False, True)])
        right = np.clip([look.right for look in both], 1e-6, 1 - 1e-6)
        odds = np.log(right / (1 - right)).mean()
        return replace(hand, right=float(1 / (1 + np.exp(-odds))))

    @torch.inference_mode()
    def read(self, image: np.ndarray, crops: list[Crop]) -> list[DetectedHand]:
        """Keypoints, side and presence of the hand in each crop."""
        if not crops:
            return []
        views = torch.from_numpy(np.stack([crop.extract(image, INPUT_PX) for crop in crops]))
        views = views.to(next(self.landmarks.parameters()).device)
        answer = self.landmarks(views.permute(0, 3, 1, 2).float() / 255)
        points, world = answer.points.cpu().numpy(), answer.world.cpu().numpy()
        hands = []
        for k, crop in enumerate(crops):
            presence = float(answer.presence[k])
            keypoints = np.concatenate([crop.to_photo(points[k, :, :2] * 2 - 1), np.full((21, 1), presence)], axis=1)
            right = float(answer.right[k])
            hands.append(
                DetectedHand(
                    keypoints=keypoints.astype(np.float32),
                    right=1 - right if crop.mirrored else right,
                    score=presence,
                    depth=(points[k, :, 2] - points[k, 0, 2]) * crop.side,
                    world=(world[k] * ([-1, 1, 1] if crop.mirrored else 1)) @ crop.camera_rotation().T,
                )
            )
        return hands
