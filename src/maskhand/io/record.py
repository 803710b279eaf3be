"""One JSON per photo. The schema is src/maskhand/assets/result.schema.json; units are in it and in the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskhand.types import Hand
from maskhand.version import __version__

UNITS = {
    "vertices, joints": "metres, camera frame of the photo: x right, y down, z forward",
    "keypoints, box, focal_px": "pixels of the upright photo; the centre of the top left pixel is 0.5, 0.5",
    "pose": "rotation matrices; the first against the camera, the others against the parent joint",
    "confidence": "probability from 0 to 1 that a joint lies within 10 mm of the truth, the hand aligned",
}


def result_record(
    name: str, image: np.ndarray, hands: Sequence[Hand], meshes: Sequence[str], *, steps: int
) -> dict[str, Any]:
    """What `maskhand reconstruct` writes beside the overlay of one photo.

    Args:
        name: the photo's file name.
        image: (H, W, 3), upright.
        meshes: mesh file names, one list entry per hand ("" for none).

    """
    height, width = image.shape[:2]
    return {
        "maskhand": __version__,
        "image": name,
        "width": width,
        "height": height,
        "steps": steps,
        "units": UNITS,
        "hands": [_hand(hand, mesh) for hand, mesh in zip(hands, meshes, strict=True)],
    }


def _hand(hand: Hand, mesh: str) -> dict[str, Any]:
    return {
        "side": hand.side,
        "score": round(hand.score, 4),
        "confidence": round(hand.confidence, 4),
        "doubt": hand.doubt or None,
        "joint_confidence": _numbers(hand.joint_confidence, 4),
        "box": _numbers(hand.box, 2),
        "joints": _numbers(hand.joints, 6),
        "keypoints": _numbers(hand.keypoints, 3),
        "pose": _numbers(hand.pose, 6),
        "shape": _numbers(hand.shape, 4),
        "focal_px": round(hand.focal_px, 2),
        "focal_source": hand.trace.focal_source,
        "mesh": mesh or None,
    }


def _numbers(array: np.ndarray, digits: int) -> list:
    return np.asarray(array, np.float64).round(digits).tolist()
