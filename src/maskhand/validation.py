"""What users hand in, checked in plain words: numbers, sides, boxes, 2D keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import overload

import numpy as np

from maskhand.errors import InputError
from maskhand.geometry.boxes import box_around

SUREST = 1.1
"""Confidences above 1 that are still taken for 1: OpenPose's maps overshoot a little."""

LEAST_INSIDE = 0.01
"""Share of a box that must lie in the photo."""


def whole_number(value: object, name: str, highest: int) -> int:
    """The value if it is a whole number from 1 to `highest`, NumPy's among them.

    Raises:
        InputError: it is not.

    """
    if not (isinstance(value, Integral) and 1 <= int(value) <= highest):
        raise InputError(f"{name} is {value!r}; expected a whole number from 1 to {highest}")
    return int(value)


def checked_side(side: object) -> None:
    """Raise unless it is "left", "right" or None.

    Raises:
        InputError: it is not.

    """
    if side not in (None, "left", "right"):
        raise InputError(f"side is {side!r}; expected 'left' or 'right'")


def _numbers(values: object, name: str, expected: str) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} are {values!r}; expected numbers, {expected}") from None


def checked_boxes(boxes: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """(N, 4) float64 x1, y1, x2, y2 [px].

    Raises:
        InputError: they are no such numbers, or a box has no area.

    """
    array = _numbers(boxes, "boxes", "(N, 4): x1, y1, x2, y2 in pixels")
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"boxes have shape {array.shape}; expected (N, 4): x1, y1, x2, y2 in pixels")
    bad = np.flatnonzero(~(np.isfinite(array).all(1) & (array[:, 2:] > array[:, :2]).all(1)))
    if bad.size:
        raise InputError(
            f"box {bad[0]} is {array[bad[0]].tolist()}, but x2 and y2 must exceed x1 and y1; "
            "if these are x, y, width, height, add x and y to the last two"
        )
    return array


def share_in_photo(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N,) share of each box's area that lies in the photo."""
    inside = (np.minimum(boxes[:, 2:], (width, height)) - np.maximum(boxes[:, :2], 0)).clip(0)
    return inside.prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)


def require_in_photo(boxes: np.ndarray, height: int, width: int) -> None:
    """Raise unless each box has some of its area in the photo.

    Raises:
        InputError: a box lies outside, as those made for a resized copy do, or is absurdly larger.

    """
    bad = np.flatnonzero(share_in_photo(boxes, height, width) < LEAST_INSIDE)
    if bad.size:
        raise InputError(
            f"box {bad[0]} is {boxes[bad[0]].tolist()}, but the photo has {width} x {height} pixels; "
            "if it was made for a copy of another size, scale it"
        )


@overload
def checked_keypoints(keypoints: None) -> None: ...
@overload
def checked_keypoints(keypoints: np.ndarray) -> np.ndarray: ...
def checked_keypoints(keypoints: np.ndarray | None) -> np.ndarray | None:
    """(N, 21, 3) float64 x, y [px], confidence; one hand may come without its N, confidences may be left out.

    Unknown ones (confidence 0) become 0, whatever they held.

    Raises:
        InputError: they are no such numbers, confidences exceed 1, or a hand has fewer than 3 known keypoints.

    """
    if keypoints is None:
        return None
    array = _numbers(keypoints, "keypoints", "(N, 21, 2) or (N, 21, 3)")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1] != 21 or array.shape[2] not in (2, 3):
        raise InputError(f"keypoints have shape {np.shape(keypoints)}; expected (N, 21, 2) or (N, 21, 3)")
    if array.shape[2] == 2:
        array = np.concatenate([array, np.ones((*array.shape[:2], 1))], axis=2)
    known = array[..., 2] > 0
    if not np.isfinite(array[known]).all():
        raise InputError("keypoints hold NaN or infinite values; give unknown ones confidence 0")
    if (array[known][:, 2] > SUREST).any():
        raise InputError(
            f"a keypoint's confidence is {array[known][:, 2].max():g}; expected 0 (unknown) to 1; "
            "visibility flags become "
            "confidences by (flag > 0)"
        )
    if (known.sum(1) < 3).any():
        raise InputError(f"hand {int((known.sum(1) < 3).argmax())} has fewer than 3 known keypoints")
    array[..., 2] = array[..., 2].clip(max=1)
    return np.where(known[..., None], array, 0.0)


def checked_boxes_and_keypoints(
    boxes: Sequence[Sequence[float]] | np.ndarray | None,
    sides: Sequence[object] | None,
    keypoints: np.ndarray | None,
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray | None]:
    """(N, 4) boxes in a photo of a size (height, width) [px], or those around keypoints, and (N, 21, 3) keypoints if
    given.

    Raises:
        InputError: there are neither, they or the sides are not as many, or one of them is bad.

    """
    own = checked_keypoints(keypoints)
    if boxes is None:
        if own is None:
            raise InputError(
                "reconstruct() needs boxes or keypoints; to search the photo for hands call the predictor itself"
            )
        boxes = np.array([box_around(hand[hand[:, 2] > 0, :2], margin=1.0) for hand in own]).reshape(-1, 4)
    checked = checked_boxes(boxes)
    require_in_photo(checked, *size)
    for given, what in ((own, "hands in keypoints"), (sides, "sides")):
        if given is not None and len(given) != len(checked):
            raise InputError(f"{len(given)} {what} but {len(checked)} boxes; they must be as many")
    for side in sides or ():
        checked_side(side)
    return checked, own
