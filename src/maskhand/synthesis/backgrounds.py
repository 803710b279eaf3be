"""Backgrounds and textures for synthetic images: a few photographs that come inside packages, the user's own, and
noise.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from maskhand.errors import ConfigError, InputError
from maskhand.io.photos import PHOTO_SUFFIXES

# Photographs shipped inside scikit-image and scikit-learn, those that show no people.
_PACKAGED = (
    ("skimage", "data/brick.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/color.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/motorcycle_right.png"),
    ("skimage", "data/page.png"),
    ("skimage", "data/retina.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/text.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)


@cache
def packaged_photos() -> tuple[np.ndarray, ...]:
    """RGB uint8 photographs from installed packages; empty where those are absent."""
    photos = []
    for package, name in _PACKAGED:
        spec = find_spec(package)
        if spec is not None and spec.origin:
            photos.append(_read(Path(spec.origin).parent / name))
    return tuple(photo for photo in photos if photo is not None)


def require_packaged_photos() -> None:
    """Raise unless every packaged photograph is there: without them a seed gives other images."""
    if len(packaged_photos()) < len(_PACKAGED):
        raise ConfigError(
            f"only {len(packaged_photos())} of {len(_PACKAGED)} background photographs were found; "
            "they come with scikit-image and scikit-learn: pip install 'maskhand[train]'"
        )


@cache
def folder_photos(folder: str, limit: int = 400) -> tuple[np.ndarray, ...]:
    """Up to `limit` photographs of a folder, at most 1024 px wide."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES)[:limit]
    photos = tuple(photo for photo in map(_read, paths) if photo is not None)
    if not photos:
        raise InputError(f"background folder {folder} holds no readable image ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return photos


def _read(path: Path) -> np.ndarray | None:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        return None
    scale = min(1.0, 1024 / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[:, :, ::-1])


def background(size: int, rng: np.random.Generator, folder: str | None = None) -> np.ndarray:
    """A background (size, size, 3) float32 in [0, 1]: a photograph's crop, noise, a gradient, or patches."""
    kind = rng.random()
    photos = packaged_photos() + (folder_photos(folder) if folder else ())
    if kind < 0.62 and photos:
        image = _photo_crop(photos[rng.integers(len(photos))], size, rng)
    elif kind < 0.74:
        image = octave_noise(size, rng)
    elif kind < 0.88:
        image = _gradient(size, rng)
    else:
        image = _patches(size, rng)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1, 7)))
    return image


def _photo_crop(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    side = int(rng.uniform(0.25, 1.0) * min(height, width))
    y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    crop = cv2.resize(
        photo[y : y + side, x : x + side],
        (size, size),
        interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR,
    )
    crop = np.rot90(crop, int(rng.integers(4)))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    crop = crop.astype(np.float32) / 255
    if rng.random() < 0.35:
        crop = crop[..., rng.permutation(3)]
    return np.ascontiguousarray(crop * rng.uniform(0.4, 1.1) + rng.uniform(-0.05, 0.15), np.float32).clip(0, 1)


def octave_noise(size: int, rng: np.random.Generator) -> np.ndarray:
    image = np.zeros((size, size, 3), np.float32)
    cells = int(rng.integers(2, 6))
    weight = 1.0
    while cells < size:
        grid = rng.random((cells, cells, 3), dtype=np.float32)
        image += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        cells, weight = cells * 3, weight * rng.uniform(0.3, 0.7)
    image -= image.min()
    image /= max(float(image.max()), 1e-6)
    grey = rng.uniform(0, 1)
    return (grey * image.mean(-1, keepdims=True) + (1 - grey) * image).astype(np.float32)


def _gradient(size: int, rng: np.random.Generator) -> np.ndarray:
    """A plain wall: one or two colours, unevenly lit."""
    first = rng.random(3) * 0.5 + rng.uniform(0, 0.5)
    second = first * rng.uniform(0.5, 1.0) + rng.normal(0, 0.05, 3)
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-0.7, 0.7, size, dtype=np.float32)
    ramp = (0.5 + np.cos(angle) * line[:, None] + np.sin(angle) * line[None]).clip(0, 1)[..., None]
    return (first * (1 - ramp) + second * ramp).clip(0, 1).astype(np.float32)


def _patches(size: int, rng: np.random.Generator) -> np.ndarray:
    image = np.ascontiguousarray(_gradient(size, rng))
    for _ in range(int(rng.integers(3, 14))):
        colour = tuple(float(c) for c in rng.random(3))
        points = (rng.random((int(rng.integers(3, 7)), 2)) * size * 1.4 - 0.2 * size).astype(np.int32)
        cv2.fillPoly(image, [cv2.convexHull(points)], colour, cv2.LINE_AA)
    return image
