"""Lines, text and sizes of uint8 RGB pictures, by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]


@contextmanager
def drawing(image: np.ndarray) -> Iterator[tuple[Image.Image, ImageDraw.ImageDraw]]:
    """A copy of an (H, W, 3) picture, and what draws on it."""
    picture = Image.fromarray(image)
    yield picture, ImageDraw.Draw(picture)


def written(image: np.ndarray, text: str, place: tuple[float, float], colour: Colour, size: float = 13) -> np.ndarray:
    """A copy of a picture with a line of text, its top left corner at a place [px]."""
    with drawing(image) as (picture, draw):
        draw.text(place, text, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(picture)


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture of another width and height [px]."""
    smaller = size[0] < image.shape[1]
    how = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(size, how, reducing_gap=3.0 if smaller else None))
