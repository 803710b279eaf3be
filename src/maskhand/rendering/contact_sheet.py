"""Contact sheets: windows around hands, skeletons drawn on them, tiles in rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from maskhand.hand_model.skeleton import FINGER_BONES
from maskhand.io.files import written_picture
from maskhand.rendering.pictures import Colour, drawing


def window(
    image: np.ndarray, box: np.ndarray, factor: float, size: int
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """A square (size, size, 3) around a box (x1, y1, x2, y2) [px], and what brings points (n, 2) [px] into it."""
    side = max(1.0, factor * float((box[2:] - box[:2]).max()))
    corner = (box[:2] + box[2:]) / 2 - side / 2
    scale = size / side
    matrix = (1 / scale, 0, corner[0], 0, 1 / scale, corner[1])
    tile = Image.fromarray(image).transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(tile), lambda points: (points - corner) * scale


def draw_bones(
    tile: np.ndarray, points: np.ndarray, known: np.ndarray, colours: Sequence[Colour], thickness: int
) -> np.ndarray:
    """A copy of a picture with the 20 bones between 21 points [px], those with both ends known; one colour per bone."""
    with drawing(tile) as (picture, draw):
        for (parent, child), colour in zip(FINGER_BONES, colours, strict=True):
            if known[parent] and known[child]:
                draw.line([tuple(points[parent]), tuple(points[child])], fill=colour, width=thickness)
    return np.asarray(picture)


def finger_colours() -> list[Colour]:
    """One hue per finger, for each of the 20 bones."""
    hues = Image.fromarray(np.array([[(k // 4 * 51, 220, 255) for k in range(20)]], np.uint8), "HSV")
    return [tuple(int(c) for c in rgb) for rgb in np.asarray(hues.convert("RGB"))[0]]  # type: ignore[misc]


def contact_sheet(tiles: Sequence[np.ndarray], path: str | Path, columns: int = 8) -> Path:
    """Tiles of one size in rows, as a picture file.

    Raises:
        InputError: it cannot be written.

    """
    padded = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    rows = [np.concatenate(padded[k : k + columns], axis=1) for k in range(0, len(padded), columns)]
    return written_picture(path, np.concatenate(rows))
