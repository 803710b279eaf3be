"""Pictures that training photos of the hand detector are composed of: whole photos, and hands cut out of theirs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskhand.errors import InputError

DIRECTIONS = 16
"""A hand's outline: its farthest points in so many directions, so that a turned one still has its true box."""
CUTOUT_PX = 320
"""Larger side at most: what the detector sees, so that training photos are as sharp as real ones."""
MAX_HANDS = 4
FLESH = 0.06
"""A hand's outline lies so far outside its joints, in hand sizes."""
_QUALITY = 75


@dataclass(frozen=True, eq=False)
class CutoutHand:
    """One hand of a cut-out."""

    outline: np.ndarray
    """(16, 2) [px of the picture]."""
    right: float = np.nan
    """Probability of a right hand; NaN: unknown."""
    direction: tuple[float, float] = (np.nan, np.nan)
    """Unit vector in the image from the wrist to the middle finger's MCP; NaN: unknown."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A picture with its hands; one with alpha is cut out of its background."""

    image: np.ndarray
    """(H, W, 3 or 4) uint8 RGB or RGBA."""
    hands: tuple[CutoutHand, ...]


@dataclass(frozen=True, eq=False)
class Cutouts:
    """Many of them, as arrays: pictures at most `CUTOUT_PX` a side, in the upper left corner of a square."""

    pictures: np.ndarray
    """(N, S, S, 4) uint8 RGBA; alpha 0 outside the picture."""
    sizes: np.ndarray
    """(N, 2) width and height [px]."""
    whole: np.ndarray
    """(N,) bool: a whole photo, not a cut-out."""
    outlines: np.ndarray
    """(N, 4, 16, 2) [px]; NaN: no hand."""
    right: np.ndarray
    """(N, 4) probability; NaN: unknown."""
    direction: np.ndarray
    """(N, 4, 2); NaN: unknown."""


def outline_of(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """(n, 2) points to the farthest one in each of 16 directions, moved outwards by `margin`. -> (16, 2)"""
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    ways = np.stack([np.cos(angles), np.sin(angles)], 1)
    return points[(points @ ways.T).argmax(0)] + margin * ways


def direction_of(points: np.ndarray) -> tuple[float, float]:
    """Unit vector from the wrist to the middle finger's MCP of (21, 2) keypoints."""
    way = points[9] - points[0]
    way = way / max(float(np.linalg.norm(way)), 1e-6)
    return float(way[0]), float(way[1])


def outline_of_box(box: np.ndarray) -> np.ndarray:
    """(16, 2) of the ellipse in a box x1, y1, x2, y2: where nothing but the box is known."""
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return (box[:2] + box[2:]) / 2 + np.stack([np.cos(angles), np.sin(angles)], 1) * (box[2:] - box[:2]) / 2


@dataclass(frozen=True, eq=False)
class PackedCutout:
    """A cut-out as it is stored."""

    encoded: np.ndarray
    """The picture, at most `CUTOUT_PX` a side, as WebP."""
    size: tuple[int, int]
    """Width and height [px]."""
    whole: bool
    hands: tuple[CutoutHand, ...]
    """In its pixels."""


def packed(cutout: Cutout) -> PackedCutout:
    """The cut-out, made smaller if needed, compressed."""
    height, width, channels = cutout.image.shape
    scale = min(1.0, CUTOUT_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(cutout.image, size, interpolation=cv2.INTER_AREA) if scale < 1 else cutout.image
    encoded = cv2.imencode(".webp", image[:, :, [2, 1, 0, 3][:channels]], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    hands = tuple(CutoutHand(hand.outline * scale, hand.right, hand.direction) for hand in cutout.hands[:MAX_HANDS])
    return PackedCutout(encoded, size, channels == 3, hands)


def save_cutouts(path: str | Path, cutouts: Iterable[PackedCutout]) -> int:
    """Writes them to one .npz. -> how many"""
    kept = list(cutouts)
    hands = [(number, hand) for number, cutout in enumerate(kept) for hand in cutout.hands]
    arrays = {
        "bytes": np.concatenate([cutout.encoded for cutout in kept]),
        "lengths": np.array([len(cutout.encoded) for cutout in kept]),
        "sizes": np.array([cutout.size for cutout in kept], np.int32),
        "whole": np.array([cutout.whole for cutout in kept]),
        "of": np.array([number for number, _ in hands], np.int32),
        "outline": np.array([hand.outline for _, hand in hands], np.float32).reshape(-1, DIRECTIONS, 2),
        "right": np.array([hand.right for _, hand in hands], np.float32),
        "direction": np.array([hand.direction for _, hand in hands], np.float32).reshape(-1, 2),
    }
    partial = Path(path).with_suffix(".partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
    return len(kept)


def load_cutouts(paths: Iterable[str | Path]) -> Cutouts:
    """All pictures of some files.

    Raises:
        InputError: a file is none of `save_cutouts`.

    """
    parts = [_read(Path(path)) for path in paths]
    return Cutouts(*(np.concatenate([part[k] for part in parts]) for k in range(6)))


def _read(path: Path) -> tuple[np.ndarray, ...]:
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        ends = arrays["lengths"].cumsum()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no cut-outs; write them with `maskhand data cutouts` ({error})") from error
    count = len(ends)
    pictures = np.zeros((count, CUTOUT_PX, CUTOUT_PX, 4), np.uint8)

    def decode(k: int) -> None:
        image = cv2.imdecode(arrays["bytes"][ends[k] - arrays["lengths"][k] : ends[k]], cv2.IMREAD_UNCHANGED)
        if image is None:
            raise InputError(f"{path}: picture {k} is damaged; write the file again with `maskhand data cutouts`")
        height, width, channels = image.shape
        pictures[k, :height, :width, :3], pictures[k, :height, :width, 3] = image[:, :, 2::-1], 255
        if channels == 4:
            pictures[k, :height, :width, 3] = image[:, :, 3]

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(count)))
    outlines = np.full((count, MAX_HANDS, DIRECTIONS, 2), np.nan, np.float32)
    right, direction = np.full((count, MAX_HANDS), np.nan, np.float32), np.full((count, MAX_HANDS, 2), np.nan)
    of = arrays["of"]
    place = np.arange(len(of)) - np.searchsorted(of, of)  # the hands of a picture follow one another
    outlines[of, place], right[of, place], direction[of, place] = (
        arrays["outline"],
        arrays["right"],
        arrays["direction"],
    )
    return pictures, arrays["sizes"], arrays["whole"], outlines, right, direction.astype(np.float32)
