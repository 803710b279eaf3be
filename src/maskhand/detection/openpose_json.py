"""2D hands that OpenPose wrote as JSON files (--write_json): one {image}_keypoints.json per image.

people: a list of {hand_left_keypoints_2d, hand_right_keypoints_2d: 63 numbers, x, y [px], confidence}
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from maskhand.errors import InputError
from maskhand.geometry.boxes import iou
from maskhand.types import Side

MIN_KNOWN = 3


def read_openpose(path: str | Path) -> list[tuple[Side, np.ndarray]]:
    """Every hand of a file: its side and (21, 3) x, y [px], confidence.

    Raises:
        InputError: no such file, or it is not OpenPose's.

    """
    path = Path(path)
    try:
        people = json.loads(path.read_text())["people"]
        hands = []
        for person in people:
            for side in ("left", "right"):
                points = np.asarray(person.get(f"hand_{side}_keypoints_2d") or np.zeros(63), float).reshape(21, 3)
                if (points[:, 2] > 0).sum() >= MIN_KNOWN:
                    hands.append((side, points))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist; OpenPose writes one such file per image with --hand --write_json"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no OpenPose JSON file: {error!r}") from error
    return hands  # type: ignore[return-value]


def hand_in_box(hands: list[tuple[Side, np.ndarray]], side: Side, box: np.ndarray) -> np.ndarray | None:
    """The keypoints of the hand of that side that overlaps the box most; None if none does."""
    best, overlap = None, 0.0
    for own, points in hands:
        known = points[points[:, 2] > 0, :2]
        share = float(iou(np.concatenate([known.min(0), known.max(0)]), box[None])[0])
        if own == side and share > overlap:
            best, overlap = points, share
    return best
