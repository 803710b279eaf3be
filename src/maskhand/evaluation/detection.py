"""How well hands are found: recall, precision, average precision and sides against boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskhand.data.box_files import BoxedPhoto
from maskhand.geometry.boxes import iou
from maskhand.predictor import Predictor
from maskhand.types import Detection

SIZES = (("small", 0.0, 0.1), ("medium", 0.1, 0.3), ("large", 0.3, 2.0))
"""By the larger side of a hand, in the photo's larger sides."""


@dataclass
class DetectionTally:
    """What was found in photos whose hands all have boxes, at one IoU."""

    iou: float
    scores: list[float] = field(default_factory=list)
    """Of every detection."""
    correct: list[bool] = field(default_factory=list)
    found: list[tuple[str, float, bool]] = field(default_factory=list)
    """Of every true hand: its kind, its larger side over the photo's, whether it was found."""
    sides: list[bool] = field(default_factory=list)
    """Of found hands whose side is known: whether it was right."""

    def add(
        self,
        detections: Sequence[Detection],
        truth: np.ndarray,
        kinds: Sequence[str],
        photo_side: float,
        right: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        """One photo: each true box (N, 4) goes to the surest detection that overlaps it enough."""
        free = np.ones(len(truth), bool)
        for detection in sorted(detections, key=lambda d: -d.score):
            overlap = iou(detection.box, truth) * free if len(truth) else np.zeros(0)
            hit = bool(len(overlap) and overlap.max() >= self.iou)
            self.scores.append(detection.score)
            self.correct.append(hit)
            if hit:
                best = int(overlap.argmax())
                free[best] = False
                if right is not None and np.isfinite(right[best]):
                    self.sides.append((detection.right >= 0.5) == (right[best] >= 0.5))
        sizes = (truth[:, 2:] - truth[:, :2]).max(1) / photo_side if len(truth) else []
        self.found += [(kind, float(size), not left) for kind, size, left in zip(kinds, sizes, free, strict=True)]

    def recall(self, kind: str | None = None) -> float:
        """Share of true hands that were found; NaN without any."""
        hits = [found for other, _, found in self.found if kind in (None, other)]
        return float(np.mean(hits)) if hits else float("nan")

    @property
    def precision(self) -> float:
        """Share of detections that are hands; NaN without any."""
        return float(np.mean(self.correct)) if self.correct else float("nan")

    @property
    def average_precision(self) -> float:
        """Area under the precision-recall curve, precision made monotonic (COCO's, at every point)."""
        if not self.found or not self.scores:
            return 0.0
        order = np.argsort(-np.array(self.scores), kind="stable")
        hits = np.array(self.correct)[order].cumsum()
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        steps = np.diff(np.concatenate([[0], hits])) / len(self.found)
        return float((precision * steps).sum())


def reconstructed_by(predictor: Predictor) -> Callable[[np.ndarray], list[Detection]]:
    """A detector that finds the hands that are left when all is done."""

    def detect(image: np.ndarray) -> list[Detection]:
        return [Detection(hand.box, hand.score, float(hand.side == "right")) for hand in predictor(image)]

    return detect


def detection_rows(
    detect: Callable[[np.ndarray], Sequence[Detection]],
    photos: Iterable[BoxedPhoto],
    progress: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """A row for all hands, one for each kind and one for each size, and one for the photos without a hand of each
    folder.

    Args:
        detect: the detector.
        photos: with all their hands' boxes.
        progress: called once per photo.

    """
    tallies = [DetectionTally(threshold) for threshold in (0.3, 0.5)]
    empty: dict[str, list[bool]] = {}
    for photo in photos:
        image, boxes = photo.read()
        detections = detect(image)
        for tally in tallies:
            tally.add(detections, boxes, photo.kinds, float(max(image.shape[:2])), _right(photo.kinds))
        if not len(boxes):
            empty.setdefault(photo.path.parent.name, []).append(bool(detections))
        progress()
    rows = [_row("all", tallies, lambda kind, size: True)]
    rows[0] |= {
        "precision_30": 100 * tallies[0].precision,
        "precision_50": 100 * tallies[1].precision,
        "ap_30": 100 * tallies[0].average_precision,
        "ap_50": 100 * tallies[1].average_precision,
        "side_percent": 100 * float(np.mean(tallies[0].sides)) if tallies[0].sides else None,
    }
    kinds = sorted({kind for kind, _, _ in tallies[0].found})
    chosen: list[tuple[str, Callable[[str, float], bool]]] = [
        (kind, lambda k, size, kind=kind: k == kind)  # type: ignore[misc]
        for kind in kinds
    ]
    chosen += [
        (f"{name}: {low:.0%} to {high:.0%} of the photo", lambda k, size, low=low, high=high: low <= size < high)  # type: ignore[misc]
        for name, low, high in SIZES
    ]
    rows += [_row(name, tallies, wanted) for name, wanted in chosen]
    for folder, found in sorted(empty.items()):
        name = f"photos without, {folder}"
        rows.append(
            dict.fromkeys(rows[0]) | {"hands": name, "count": len(found), "false_percent": 100 * np.mean(found)}
        )
    blank = dict.fromkeys(key for row in rows for key in row)
    return [blank | row for row in rows if row["count"]]


def _right(kinds: Sequence[str]) -> list[float]:
    """The sides that kinds say: "left", "right", or anything that ends so."""
    return [1.0 if kind.endswith("right") else 0.0 if kind.endswith("left") else float("nan") for kind in kinds]


def _row(name: str, tallies: Sequence[DetectionTally], wanted: Callable[[str, float], bool]) -> dict[str, Any]:
    shares = [[hit for kind, size, hit in tally.found if wanted(kind, size)] for tally in tallies]
    recalls = [100 * float(np.mean(hits)) if hits else None for hits in shares]
    return {"hands": name, "count": len(shares[0]), "recall_30": recalls[0], "recall_50": recalls[1]}
