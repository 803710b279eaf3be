"""All real evidence at hand in one table: ours beside the landmark network's own output on the same images.

Sources are the development data's measuring part (docs/data.md): two calibrated cameras, photos of counting hands, the held-out
fifths of the sign digits and of the crops, three videos; and photographs that show no hand. Nothing here has 3D truth but the
stereo pair; the rest measures what a user sees: where the mesh lies in the photo, the side, how many fingers, which digit, how
much it trembles, whether it cuts itself, whether there is a hand at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from maskhand.config import DEFAULT_STEPS
from maskhand.data.photos import TRAINING_VIDEOS, SourcePhoto, development_photos, read_rgb, teach, video_frames
from maskhand.detection.hand_detector import HandFinder
from maskhand.errors import ConfigError, InputError
from maskhand.evaluation.stereo import stereo_errors
from maskhand.hand_model.collision import has_collision
from maskhand.predictor import Predictor
from maskhand.types import DetectedHand, Hand
from maskhand.rendering.overlay import draw_overlay, draw_view
from maskhand.rendering.contact_sheet import contact_sheet, draw_bones, finger_colours, window
from maskhand.synthesis.backgrounds import packaged_photos, require_packaged_photos

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
FRAMES = 150
"""Consecutive frames of each video."""
VIDEOS = ("stereo_handpose3d/cam0_test.mp4", *TRAINING_VIDEOS)
SQUARES, SQUARES_SEED = 500, 7
"""Random squares of photographs without a hand."""
PALM_MM = 90.0
"""Wrist to middle MCP, to which joints are scaled where their size is unknown."""
OTHER_HAND = 50.0
"""Keypoints that lie farther apart than this share of the hand [%] belong to another hand."""
TILE_PX = 224
"""Side of the pictures on a sheet of the worst photos."""
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


@dataclass(frozen=True)
class Judged:
    """A photo that only measures, and how far off its hand is drawn."""

    name: str
    """Its path in the folder of development data."""
    hand: Hand | None
    """The surest one; None if none is found."""
    off: float
    """Mean distance of the mesh's landmarks to the landmark network's keypoints [% of the hand]; infinite without a hand."""


@dataclass(frozen=True)
class Evidence:
    """The table, and the photos behind it."""

    rows: list[Row]
    photos: list[Judged]

    def worst(self, count: int) -> list[Judged]:
        """The photos without a hand, then those whose hands lie farthest from the landmark network's keypoints."""
        return sorted(self.photos, key=lambda photo: -photo.off)[:count]


@dataclass
class _Seen:
    """Hands of one source: ours and what the landmark network said."""

    name: str
    held: list[tuple[Hand, DetectedHand]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def images(self) -> int:
        return len(self.labels) + len(self.missed)

    def judged(self) -> Iterator[Judged]:
        for name, (hand, found) in zip(self.labels, self.held, strict=True):
            yield Judged(name, hand, _flat_percent(_flat_landmarks(hand), found.keypoints[:, :2]))
        for name in self.missed:
            yield Judged(name, None, np.inf)


def real_evidence(
    predictor: Predictor,
    root: str | Path,
    *,
    steps: int = DEFAULT_STEPS,
    every: int = 1,
    progress: Callable[[str], None] = lambda what: None,
) -> Evidence:
    """The table, and every photo's hand beside the landmark network's keypoints.

    Args:
        predictor: what is measured, detection included.
        root: folder of the development data.
        steps: rounds of unmasking.
        every: use every so manieth stereo frame and held-out photo.
        progress: called with each source's name.

    Raises:
        InputError: the folder or a part of it is not there.

    """
    root = Path(root)
    for part in ("stereo_handpose3d", "finger_counting", "sign_digits", "real_crops", *VIDEOS):
        if not (root / part).exists():
            raise InputError(f"{root / part} does not exist; DATA must be the folder of development data (docs/data.md)")
    rows = []
    progress("stereo_handpose3d")
    rows += _stereo_rows(predictor, root, steps, every)
    progress("finger_counting")
    counting = _see(predictor, _counting_photos(root), steps, "finger_counting")
    rows += [_found_row(counting), _count_row(counting), _second_opinion_row(predictor, counting, root)]
    progress("sign_digits")
    digits = _see(predictor, islice(_held_out(root, "sign_digits"), 0, None, every), steps, "sign_digits, held out")
    rows += [_found_row(digits), _digit_row(digits)]
    progress("real_crops")
    crops = _see(predictor, islice(_held_out(root, "real_crops"), 0, None, every), steps, "real_crops, held out")
    rows += [_found_row(crops), _teacher_row(predictor, crops, root, every)]
    progress("photographs without a hand")
    rows.append(_false_row(predictor))
    progress("videos")
    rows += _video_rows(predictor, root, steps)
    everything = (counting, digits, crops)
    rows += _penetration_rows([pair for seen in everything for pair in seen.held])
    return Evidence(rows, [photo for seen in everything for photo in seen.judged()])


def worst_photos_sheet(evidence: Evidence, root: str | Path, count: int, path: str | Path) -> Path:
    """A picture of `evidence.worst(count)`: the landmark network's keypoints, the mesh, the mesh from another side; names below.

    root: folder of the development data, where the photos are read again.

    Raises:
        InputError: the picture cannot be written.

    """
    return contact_sheet([_tile(photo, read_rgb(Path(root) / photo.name)) for photo in evidence.worst(count)], path, 2)


def _tile(photo: Judged, image: np.ndarray) -> np.ndarray:
    """(TILE_PX, 3 TILE_PX, 3): a photo's three pictures."""
    hand = photo.hand
    if hand is None:
        whole, _ = window(image, np.array([0, 0, image.shape[1], image.shape[0]]), 1.0, TILE_PX)
        shown, said = [whole, np.zeros_like(whole), np.zeros_like(whole)], "no hand found"
    else:
        found = hand.details["detected"].keypoints[:, :2]
        corners = np.concatenate([np.minimum(found.min(0), hand.box[:2]), np.maximum(found.max(0), hand.box[2:])])
        plain, into = window(image, corners, 1.3, TILE_PX)
        drawn, _ = window(draw_overlay(image, [hand]), corners, 1.3, TILE_PX)
        draw_bones(plain, into(found), np.ones(21, bool), finger_colours(), 1)
        shown, said = [plain, drawn, draw_view(hand, TILE_PX)], f"{photo.off:.1f} %"
    tile = np.concatenate(shown, 1)
    for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        place = (4, TILE_PX - 6)
        cv2.putText(tile, f"{said}  {photo.name}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness, cv2.LINE_AA)
    return tile


def _stereo_rows(predictor: Predictor, root: Path, steps: int, every: int) -> list[Row]:
    values = stereo_errors(predictor, root / "stereo_handpose3d", steps=steps, every=every)
    number = {key: float(value) for key, value in values.items() if value is not None}
    count = int(number["frames"])
    name = "stereo_handpose3d"
    theirs, theirs_px = number["landmark_network_pa_mpjpe_mm"], number["landmark_network_reprojection_px"]
    return [
        Row(name, "PA-MPJPE, the network's landmarks on our mesh [mm]", "less", number["landmarks_pa_mpjpe_mm"], theirs, count),
        Row(name, "PA-MPJPE, our keypoints as they are [mm]", "less", number["pa_mpjpe_mm"], theirs, count),
        Row(name, "reprojection of the landmarks [px]", "less", number["landmarks_reprojection_px"], theirs_px, count),
    ]


def _counting_photos(root: Path) -> Iterator[SourcePhoto]:
    for path in sorted((root / "finger_counting").glob("*.jpg")):
        yield SourcePhoto(f"finger_counting/{path.name}", read_rgb(path), held_out=True)


def _held_out(root: Path, folder: str) -> Iterator[SourcePhoto]:
    for photo in development_photos(root, only=folder):
        if photo.held_out:
            yield photo


def _see(predictor: Predictor, photos: Iterator[SourcePhoto], steps: int, name: str) -> _Seen:
    """The surest hand of each photo."""
    seen = _Seen(name)
    for photo in photos:
        hands = predictor(photo.image, steps=steps)
        if hands:
            seen.held.append((hands[0], hands[0].details["detected"]))
            seen.labels.append(photo.name)
        else:
            seen.missed.append(photo.name)
    return seen


def _found_row(seen: _Seen) -> Row:
    share = 100 * len(seen.held) / max(1, seen.images)
    return Row(seen.name, "photos of a hand in which one is found [%]", "more", share, None, seen.images)


def _false_row(predictor: Predictor) -> Row:
    """Squares of photographs that show no hand (scikit-image's and scikit-learn's): how often one is found all the same."""
    require_packaged_photos()
    photos, rng = packaged_photos(), np.random.default_rng(SQUARES_SEED)
    ours = theirs = 0
    for _ in range(SQUARES):
        photo = photos[rng.integers(len(photos))]
        size = int(rng.integers(80, min(photo.shape[:2])))
        top, left = (int(rng.integers(whole - size + 1)) for whole in photo.shape[:2])
        square = np.ascontiguousarray(photo[top : top + size, left : left + size])
        ours += bool(predictor(square))
        theirs += bool(predictor.provider.find(square))
    measure = "squares without a hand in which one is found [%]"
    return Row("packaged photographs", measure, "less", 100 * ours / SQUARES, 100 * theirs / SQUARES, SQUARES)


def extended_fingers(joints: np.ndarray) -> int:
    """How many fingers of (21, 3) joints are stretched out.

    A finger counts if its tip is nearly as far from its base as its bones are long; the thumb, which hardly bends, if its tip
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


def _count_row(seen: _Seen) -> Row:
    wanted = [NUMBERS[name.rsplit("_", 2)[1]] for name in seen.labels]
    ours = [extended_fingers(hand.joints) for hand, _ in seen.held]
    theirs = [extended_fingers(found.relief) for _, found in seen.held]
    share, share_network = (100 * float(np.mean(np.equal(counts, wanted))) for counts in (ours, theirs))
    return Row(seen.name, "finger counts right [%]", "more", share, share_network, len(wanted))


def _second_opinion_row(predictor: Predictor, seen: _Seen, root: Path) -> Row:
    """2D distance to what MediaPipe's own pipeline said, in per cent of the hand's size."""
    labels = json.loads((root / "finger_counting" / "pseudo_labels_mediapipe.json").read_text())
    ours, theirs = [], []
    for name, (hand, found) in zip(seen.labels, seen.held, strict=True):
        others = [np.array(other["keypoints_px"]) for other in labels[Path(name).name]["hands"]]
        if others:
            points = min(others, key=lambda p, f=found: float(np.abs(p - f.keypoints[:, :2]).mean()))  # type: ignore[misc]
            if _flat_percent(found.keypoints[:, :2], points) < OTHER_HAND:
                ours.append(_flat_percent(_flat_landmarks(hand), points))
                theirs.append(_flat_percent(found.keypoints[:, :2], points))
    name = "2D distance to MediaPipe's own pipeline [% of the hand]"
    return Row(seen.name, name, "less", float(np.mean(ours)), float(np.mean(theirs)), len(ours))


def _teacher_row(predictor: Predictor, seen: _Seen, root: Path, every: int) -> Row:
    """2D distance to the landmark network averaged over six jittered crops."""
    finder = predictor.provider
    if not isinstance(finder, HandFinder):
        raise ConfigError("real evidence is measured with the built-in detector")
    photos = {photo.name: photo.image for photo in islice(_held_out(root, "real_crops"), 0, None, every)}
    ours, theirs = [], []
    for k, (name, (hand, found)) in enumerate(zip(seen.labels, seen.held, strict=True)):
        points, _ = teach(finder, photos[name], found, np.random.default_rng(k))
        ours.append(_flat_percent(_flat_landmarks(hand), points))
        theirs.append(_flat_percent(found.keypoints[:, :2], points))
    measure = "2D distance to the landmark network, mean of six crops [% of the hand]"
    return Row(seen.name, measure, "less", float(np.mean(ours)), float(np.mean(theirs)), len(ours))


def _flat_landmarks(hand: Hand) -> np.ndarray:
    """(21, 2) [px], the network's landmarks on our mesh."""
    off = hand.keypoints - hand.focal_px * hand.joints[:, :2] / hand.joints[:, 2:]  # the image's middle
    marks = hand.details["landmarks"]
    return hand.focal_px * marks[:, :2] / marks[:, 2:] + off.mean(0)


def _flat_percent(points: np.ndarray, target: np.ndarray) -> float:
    """Mean 2D distance in per cent of the target hand's size."""
    return float(100 * np.linalg.norm(points - target, axis=1).mean() / np.ptp(target, axis=0).max())


def hand_frame(joints: np.ndarray, *, left: bool) -> np.ndarray:
    """(21, 3) joints in the palm's own axes and size, a left hand mirrored."""
    points = (joints - joints[0]) * (-1.0 if left else 1.0, 1.0, 1.0)
    up = points[9] / np.linalg.norm(points[9])
    side = points[5] - points[17]
    side = side - side @ up * up
    side /= np.linalg.norm(side)
    return points @ np.stack([side, up, np.cross(side, up)], 1) / np.linalg.norm(points[9])


def _digit_row(seen: _Seen) -> Row:
    """Ten signs told apart by a linear classifier on the palm-relative joints, cross-validated by blocks of file numbers."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GroupKFold, cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ConfigError("the sign digits are told apart with scikit-learn: pip install 'maskhand[train]'") from None
    digit = np.array([int(Path(name).parent.name) for name in seen.labels])
    block = np.array([int(Path(name).stem.split("_")[1]) // 10 for name in seen.labels])
    shares = []
    for points in (
        [hand_frame(hand.joints, left=hand.side == "left") for hand, _ in seen.held],
        [hand_frame(found.relief, left=hand.side == "left") for hand, found in seen.held],
    ):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
        folds = GroupKFold(min(5, len(set(block.tolist()))))
        features = np.stack(points).reshape(len(digit), -1)
        shares.append(100 * float(cross_val_score(classifier, features, digit, groups=block, cv=folds).mean()))
    return Row(seen.name, "sign digits recognised from the pose [%]", "more", shares[0], shares[1], len(digit))


def _video_rows(predictor: Predictor, root: Path, steps: int) -> list[Row]:
    rows = []
    for video in VIDEOS:
        ours: list[np.ndarray | None] = []
        theirs: list[np.ndarray | None] = []
        last: np.ndarray | None = None
        sides: list[str] = []
        for frame in islice(video_frames(root / video), FRAMES):
            hands = predictor(frame, steps=steps)
            if not hands:
                ours.append(None)
                theirs.append(None)
                continue
            # The same hand as before, where there are several.
            hand = hands[0] if last is None else min(hands, key=lambda h, p=last: float(np.abs(h.keypoints - p).mean()))  # type: ignore[misc]
            last = hand.keypoints
            sides.append(hand.side)
            ours.append(_sized(hand.joints))
            theirs.append(_sized(hand.details["detected"].relief))
        name = video.split("/")[0]
        values = _jerkiness(ours), _jerkiness(theirs)
        rows.append(Row(name, "trembling: mean second difference, about the wrist [mm]", "less", *values, len(sides)))
        if name == "dex_retargeting":  # a right hand, says its source
            share = 100 * sides.count("right") / max(1, len(sides))
            rows.append(Row(name, "frames with the right side [%]", "more", share, None, len(sides)))
        else:
            share = 100 * max(sides.count("left"), sides.count("right")) / max(1, len(sides))
            rows.append(Row(name, "frames with the side that most frames have [%]", "more", share, None, len(sides)))
    return rows


def _sized(points: np.ndarray, palm: float = PALM_MM) -> np.ndarray:
    """About the wrist, scaled to a length from the wrist to the middle finger's knuckle."""
    points = points - points[:1]
    return points * palm / np.linalg.norm(points[9])


def _jerkiness(track: list[np.ndarray | None]) -> float:
    """Mean length of the second difference over three frames in a row that hold a hand."""
    values = [
        np.linalg.norm(a - 2 * b + c, axis=1).mean()
        for a, b, c in zip(track, track[1:], track[2:], strict=False)
        if a is not None and b is not None and c is not None
    ]
    return float(np.mean(values)) if values else float("nan")


def _penetration_rows(hands: list[tuple[Hand, DetectedHand]]) -> list[Row]:
    """With all palms scaled to one length, as measured up to 0.12.0, and at the size that our hand has: fingers have their
    thickness in metres, so a large hand whose fingers touch cuts itself once it is scaled down.
    """
    ours, theirs = [hand.joints for hand, _ in hands], [found.relief for _, found in hands]
    palms = [float(np.linalg.norm(joints[9] - joints[0])) for joints in ours]

    def share(points: list[np.ndarray], lengths: list[float]) -> float:
        sized = np.stack([_sized(p, palm) for p, palm in zip(points, lengths, strict=True)])
        return 100 * float(has_collision(torch.from_numpy(sized).float()).float().mean())

    rows = []
    for suffix, lengths in (("", [PALM_MM / 1000] * len(hands)), (", at their own size", palms)):
        shares = share(ours, lengths), share(theirs, lengths)
        rows.append(Row("all photos", f"hands whose bones cut each other{suffix} [%]", "less", *shares, len(hands)))
    return rows
