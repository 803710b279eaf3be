"""A picture of the photos that come out worst: the landmark network's keypoints, the mesh, the mesh from another
side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskhand.data.photos import read_rgb
from maskhand.evaluation.real_evidence import Evidence
from maskhand.evaluation.real_photos import PhotoResult
from maskhand.rendering.contact_sheet import contact_sheet, draw_bones, finger_colours, window
from maskhand.rendering.overlay import draw_overlay, draw_view
from maskhand.rendering.pictures import written

TILE_PX = 224


def worst_photos_sheet(evidence: Evidence, root: str | Path, count: int, path: str | Path) -> Path:
    """A picture of `evidence.worst(count)`, names below; `root` is the folder the photos are read from again.

    Raises:
        InputError: the picture cannot be written.

    """
    return contact_sheet([_tile(photo, read_rgb(Path(root) / photo.name)) for photo in evidence.worst(count)], path, 2)


def _tile(photo: PhotoResult, image: np.ndarray) -> np.ndarray:
    """(TILE_PX, 3 TILE_PX, 3): a photo's three pictures."""
    hand = photo.hand
    if hand is None:
        whole, _ = window(image, np.array([0, 0, image.shape[1], image.shape[0]]), 1.0, TILE_PX)
        shown, caption = [whole, np.zeros_like(whole), np.zeros_like(whole)], "no hand found"
    else:
        points = hand.trace.detection.xy
        corners = np.concatenate([np.minimum(points.min(0), hand.box[:2]), np.maximum(points.max(0), hand.box[2:])])
        plain, into = window(image, corners, 1.3, TILE_PX)
        drawn, _ = window(draw_overlay(image, [hand]), corners, 1.3, TILE_PX)
        plain = draw_bones(plain, into(points), np.ones(21, bool), finger_colours(), 1)
        shown, caption = [plain, drawn, draw_view(hand, TILE_PX)], f"{photo.distance_percent:.1f} %"
    return written(np.concatenate(shown, 1), f"{caption}  {photo.name}", (4, TILE_PX - 16), (255, 255, 255), 11)
