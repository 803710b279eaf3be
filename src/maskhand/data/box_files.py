"""Photos with boxes of their hands on disk: COCO's JSON, YOLO's text files, or our own JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskhand.data.photos import read_rgb
from maskhand.errors import InputError
from maskhand.io.photos import PHOTO_SUFFIXES

_FORMATS = (
    "It must hold boxes.json ({file: [[kind, centre x, centre y, width, height], ...]}, shares of the photo), "
    "a COCO file (*.json with images and annotations), or YOLO's images/ and labels/."
)


@dataclass(frozen=True)
class BoxedPhoto:
    """A photo all of whose hands have boxes."""

    path: Path
    shares: np.ndarray
    """(N, 4) centre x, centre y, width, height in shares of the photo, or [px] as `in_pixels` says."""
    kinds: tuple[str, ...]
    """Of each box, such as "glove" or "left"."""
    in_pixels: bool = False

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The photo (H, W, 3) uint8 RGB and its boxes (N, 4) x1, y1, x2, y2 [px]."""
        image = read_rgb(self.path)
        height, width = image.shape[:2]
        values = self.shares if self.in_pixels else self.shares * [width, height, width, height]
        return image, np.concatenate([values[:, :2] - values[:, 2:] / 2, values[:, :2] + values[:, 2:] / 2], 1)


def boxed_photos(root: str | Path, boxes: str | Path | None = None) -> Iterator[BoxedPhoto]:
    """The photos of a folder whose hands have boxes, in the order of their names; photos without a hand have none.

    Args:
        root: the folder.
        boxes: a file as our boxes.json of photos in it, which may lie elsewhere.

    Raises:
        InputError: the folder has none of the three layouts, or a file of it is damaged.

    """
    root = Path(root)
    if boxes is not None or (root / "boxes.json").is_file():
        return _own(root, Path(boxes or root / "boxes.json"))
    if (root / "labels").is_dir() and (root / "images").is_dir():
        return _yolo(root)
    files = sorted(root.glob("*.json")) + sorted(root.glob("annotations/*.json"))
    if not files:
        raise InputError(f"{root} has no boxes of hands. {_FORMATS}")
    return _coco(root, files[0])


def _own(root: Path, file: Path) -> Iterator[BoxedPhoto]:
    rows = _loaded(file)
    for name, boxes in sorted(rows.items()):
        try:
            shares = np.array([box[1:] for box in boxes], np.float64).reshape(-1, 4)
        except (ValueError, TypeError) as error:
            raise InputError(f"{file}: {name} has {boxes!r}, no boxes. {_FORMATS}") from error
        yield BoxedPhoto(root / name, shares, tuple(str(box[0]) for box in boxes))


def _yolo(root: Path) -> Iterator[BoxedPhoto]:
    for path in sorted(p for p in (root / "images").rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES):
        label = (root / "labels" / path.relative_to(root / "images")).with_suffix(".txt")
        lines = label.read_text().split("\n") if label.exists() else []
        try:
            rows = [line.split()[:5] for line in lines if line.strip()]
            shares = np.array([row[1:] for row in rows], np.float64).reshape(-1, 4)
        except ValueError as error:
            raise InputError(f"{label} has no YOLO boxes (class, centre x, centre y, width, height): {error}") from None
        yield BoxedPhoto(path, shares, tuple(f"class {row[0]}" for row in rows))


def _coco(root: Path, file: Path) -> Iterator[BoxedPhoto]:
    data = _loaded(file)
    try:
        names = {c["id"]: str(c["name"]) for c in data.get("categories", [])}
        boxes: dict[int, list[tuple[str, list[float]]]] = {image["id"]: [] for image in data["images"]}
        for annotation in data["annotations"]:
            kind = names.get(annotation.get("category_id"), "hand")
            boxes[annotation["image_id"]].append((kind, annotation["bbox"]))
        images = sorted((image["file_name"], image["id"]) for image in data["images"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is no COCO file: {error!r} is missing. {_FORMATS}") from error
    for name, number in images:
        corner = np.array([box for _, box in boxes[number]], np.float64).reshape(-1, 4)
        centred = np.concatenate([corner[:, :2] + corner[:, 2:] / 2, corner[:, 2:]], 1)
        path = root / name if (root / name).exists() else root / "images" / name
        yield BoxedPhoto(path, centred, tuple(kind for kind, _ in boxes[number]), in_pixels=True)


def _loaded(path: Path) -> dict:
    try:
        data = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no boxes. {_FORMATS}")
    return data
