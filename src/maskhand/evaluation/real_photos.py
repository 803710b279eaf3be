"""Rows of the real evidence that come from single photos: found, finger counts, digits, 2D distances, collisions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from maskhand.data.photos import SourcePhoto, development_photos, mean_landmarks, read_rgb
from maskhand.detection.landmark_reader import LandmarkReader
from maskhand.errors import ConfigError
from maskhand.hand_model.collision import has_collision
from maskhand.predictor import Predictor
from maskhand.types import Detection, Hand

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
PALM_MM = 90.0
"""Wrist to middle MCP, to which joints are scaled where their size is unknown."""
OTHER_HAND = 50.0
"""Keypoints that lie farther apart than this share of the hand [%] belong to another hand."""
_FINGERS = tuple(tuple(range(1 + 4 * f, 5 + 4 * f)) for f in range(5))


@dataclass(frozen=True)
class Row:
    """One measure: ours, and the landmark network's own."""

    source: str
    measure: str
    better: str
    """`less` or `more`."""
    ours: float
    landmark_network: float | None
    count: int


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """A photo that only measures, and how far off its hand is drawn."""

    name: str
    """Its path in the folder of development data."""
    hand: Hand | None
    """The surest one; None if none is found."""
    distance_percent: float
    """Mean distance of the mesh's landmarks to the landmark network's keypoints [% of the hand]; infinite without a
    hand."""


@dataclass
class PhotoSet:
    """The surest hand of each photo of one source."""

    name: str
    hands: list[Hand] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def images(self) -> int:
        return len(self.names) + len(self.missed)

    @property
    def pairs(self) -> Iterator[tuple[str, Hand, Detection]]:
        """Name, hand, and what the landmark network said of it."""
        return ((name, hand, hand.trace.detection) for name, hand in zip(self.names, self.hands, strict=True))

    def results(self) -> Iterator[PhotoResult]:
        for name, hand, detection in self.pairs:
            yield PhotoResult(name, hand, percent_distance(flat_landmarks(hand), detection.xy))
        for name in self.missed:
            yield PhotoResult(name, None, np.inf)


def counting_photos(root: Path) -> Iterator[SourcePhoto]:
    """The photos of `finger_counting`."""
    for path in sorted((root / "finger_counting").glob("*.jpg")):
        yield SourcePhoto(f"finger_counting/{path.name}", read_rgb(path), held_out=True)


def held_out_photos(root: Path, folder: str) -> Iterator[SourcePhoto]:
    """The photos of a training source that only measure."""
    return (photo for photo in development_photos(root, only=folder) if photo.held_out)


def reconstruct_photos(predictor: Predictor, photos: Iterable[SourcePhoto], steps: int, name: str) -> PhotoSet:
    """The surest hand of each photo."""
    result = PhotoSet(name)
    for photo in photos:
        hands = predictor(photo.image, steps=steps)
        if hands:
            result.hands.append(hands[0])
            result.names.append(photo.name)
        else:
            result.missed.append(photo.name)
    return result


def found_row(photos: PhotoSet) -> Row:
    """How many photos of a hand have one."""
    share = 100 * len(photos.hands) / max(1, photos.images)
    return Row(photos.name, "photos of a hand in which one is found [%]", "more", share, None, photos.images)


def extended_fingers(joints: np.ndarray) -> int:
    """How many fingers of (21, 3) joints are stretched out.

    A finger counts if its tip is nearly as far from its base as its bones are long; the thumb, which hardly bends, if
    its tip
    lies well to the side of the palm: farther from the little finger's base than its own middle joint does.
    """
    count = 0
    for finger in _FINGERS[1:]:
        base, tip = joints[finger[0]], joints[finger[3]]
        bones = np.linalg.norm(np.diff(joints[list(finger)], axis=0), axis=1).sum()
        count += int(np.linalg.norm(tip - base) > 0.85 * bones)
    palm = np.linalg.norm(joints[5] - joints[17])
    outwards = np.linalg.norm(joints[4] - joints[17]) - np.linalg.norm(joints[2] - joints[17])
    return int(count + (outwards > 0.12 * palm))


def count_row(photos: PhotoSet) -> Row:
    """How many counting hands show the number of fingers that their photo's name says."""
    wanted = [NUMBERS[name.rsplit("_", 2)[1]] for name in photos.names]
    ours = [extended_fingers(hand.joints) for hand in photos.hands]
    theirs = [extended_fingers(hand.trace.detection.relief) for hand in photos.hands]
    share, share_network = (100 * float(np.mean(np.equal(counts, wanted))) for counts in (ours, theirs))
    return Row(photos.name, "finger counts right [%]", "more", share, share_network, len(wanted))


def pipeline_row(photos: PhotoSet, root: Path) -> Row:
    """2D distance to what MediaPipe's own pipeline said, in per cent of the hand's size."""
    labels = json.loads((root / "finger_counting" / "pseudo_labels_mediapipe.json").read_text())
    ours, theirs = [], []
    for name, hand, detection in photos.pairs:
        others = [np.array(other["keypoints_px"]) for other in labels[Path(name).name]["hands"]]
        own = detection.xy
        if others:
            points = min(others, key=lambda p, own=own: float(np.abs(p - own).mean()))  # type: ignore[misc]
            if percent_distance(own, points) < OTHER_HAND:
                ours.append(percent_distance(flat_landmarks(hand), points))
                theirs.append(percent_distance(own, points))
    measure = "2D distance to MediaPipe's own pipeline [% of the hand]"
    return Row(photos.name, measure, "less", float(np.mean(ours)), float(np.mean(theirs)), len(ours))


def teacher_row(reader: LandmarkReader, photos: PhotoSet, root: Path, every: int) -> Row:
    """2D distance to the landmark network averaged over six jittered crops, of held-out crops."""
    images = {photo.name: photo.image for photo in islice(held_out_photos(root, "real_crops"), 0, None, every)}
    ours, theirs = [], []
    for k, (name, hand, detection) in enumerate(photos.pairs):
        points, _ = mean_landmarks(reader, images[name], detection, np.random.default_rng(k))
        ours.append(percent_distance(flat_landmarks(hand), points))
        theirs.append(percent_distance(detection.xy, points))
    measure = "2D distance to the landmark network, mean of six crops [% of the hand]"
    return Row(photos.name, measure, "less", float(np.mean(ours)), float(np.mean(theirs)), len(ours))


def flat_landmarks(hand: Hand) -> np.ndarray:
    """(21, 2) [px] the landmark network's points on our mesh, projected."""
    principal = (hand.keypoints - hand.focal_px * hand.joints[:, :2] / hand.joints[:, 2:]).mean(0)  # the image's middle
    landmarks = hand.trace.landmarks
    return hand.focal_px * landmarks[:, :2] / landmarks[:, 2:] + principal


def percent_distance(points: np.ndarray, target: np.ndarray) -> float:
    """Mean 2D distance in per cent of the target hand's size."""
    return float(100 * np.linalg.norm(points - target, axis=1).mean() / np.ptp(target, axis=0).max())


def palm_frame(joints: np.ndarray, *, left: bool) -> np.ndarray:
    """(21, 3) joints in the palm's own axes and size, a left hand mirrored."""
    points = (joints - joints[0]) * (-1.0 if left else 1.0, 1.0, 1.0)
    up = points[9] / np.linalg.norm(points[9])
    side = points[5] - points[17]
    side = side - side @ up * up
    side /= np.linalg.norm(side)
    return points @ np.stack([side, up, np.cross(side, up)], 1) / np.linalg.norm(points[9])


def digit_row(photos: PhotoSet) -> Row:
    """Ten signs distinguished by a linear classifier on the palm-relative joints, cross-validated by blocks of file
    numbers.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold, cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ConfigError("the sign digits are classified with scikit-learn: pip install 'maskhand[train]'") from None
    digit = np.array([int(Path(name).parent.name) for name in photos.names])
    block = np.array([int(Path(name).stem.split("_")[1]) // 10 for name in photos.names])
    shares = []
    for points in (
        [palm_frame(hand.joints, left=hand.side == "left") for hand in photos.hands],
        [palm_frame(hand.trace.detection.relief, left=hand.side == "left") for hand in photos.hands],
    ):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
        folds = GroupKFold(min(5, len(set(block.tolist()))))
        features = np.stack(points).reshape(len(digit), -1)
        shares.append(100 * float(cross_val_score(classifier, features, digit, groups=block, cv=folds).mean()))
    return Row(photos.name, "sign digits recognised from the pose [%]", "more", shares[0], shares[1], len(digit))


def scaled_about_wrist(points: np.ndarray, palm: float = PALM_MM) -> np.ndarray:
    """About the wrist, scaled to a length from the wrist to the middle finger's knuckle."""
    points = points - points[:1]
    return points * palm / np.linalg.norm(points[9])


def collision_rows(hands: list[Hand]) -> list[Row]:
    """Hands whose bones penetrate each other: with all palms scaled to one length, and at the size that our hand has.

    Fingers have their thickness in metres, so a large hand whose fingers touch collides once it is scaled down.
    """
    ours, theirs = [hand.joints for hand in hands], [hand.trace.detection.relief for hand in hands]
    palms = [float(np.linalg.norm(joints[9] - joints[0])) for joints in ours]

    def share(points: list[np.ndarray], lengths: list[float]) -> float:
        sized = np.stack([scaled_about_wrist(p, palm) for p, palm in zip(points, lengths, strict=True)])
        return 100 * float(has_collision(torch.from_numpy(sized).float()).float().mean())

    rows = []
    for suffix, lengths in (("", [PALM_MM / 1000] * len(hands)), (", at their own size", palms)):
        shares = share(ours, lengths), share(theirs, lengths)
        rows.append(Row("all photos", f"hands whose bones collide{suffix} [%]", "less", *shares, len(hands)))
    return rows
