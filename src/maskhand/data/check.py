"""Looking a downloaded data set over: every label, every image, counts, a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskhand.data.datasets.source import Dataset
from maskhand.data.sample import Sample, problems
from maskhand.errors import InputError
from maskhand.rendering.contact_sheet import draw_bones, finger_colours, window
from maskhand.rendering.pictures import written

TILE_PX = 160


@dataclass
class Findings:
    """What a check found."""

    samples: int = 0
    images: int = 0
    left: int = 0
    with_3d: int = 0
    expected: int | None = None
    wrong: list[str] = field(default_factory=list)
    """Sample and what is wrong with it."""
    tiles: list[np.ndarray] = field(default_factory=list, repr=False)

    def said(self) -> list[str]:
        """Lines to print."""
        lines = [f"{self.samples} hands in {self.images} images, {self.left} left, {self.with_3d} with 3D keypoints"]
        if self.expected is not None and self.images != self.expected:
            lines.append(f"{self.images} images; the published split has {self.expected}")
        return lines


def check(
    dataset: Dataset,
    root: str | Path,
    split: str,
    *,
    limit: int | None = None,
    every_image: bool = True,
    tiles: int = 32,
) -> Findings:
    """Read all samples of a split and their images.

    Damaged samples are gathered, not raised; a file that stops the reading altogether raises InputError.
    """
    result = Findings(expected=dataset.splits.get(split) if limit is None else None)
    images: set[str] = set()
    names: set[str] = set()
    for sample in dataset.samples(root, split):
        result.samples += 1
        result.left += sample.side == "left"
        result.with_3d += sample.keypoints_3d is not None
        images.add(str(sample.image) if isinstance(sample.image, Path) else sample.name.rsplit("/", 1)[0])
        found = problems(sample)
        if sample.name in names:
            found.append("its name occurs twice")
        names.add(sample.name)
        if not found and (every_image or len(result.tiles) < tiles):
            try:
                pixels = sample.pixels()
                found = _off_image(sample, pixels)
                if len(result.tiles) < tiles and sample.keypoints_2d is not None:
                    result.tiles.append(_tile(sample, pixels))
            except InputError as error:
                found = [str(error)]
        result.wrong += [f"{sample.name}: {what}" for what in found]
        if limit is not None and result.samples == limit:
            break
    result.images = len(images)
    if not result.samples:
        result.wrong.append(f"{root} holds no sample of {dataset.title}'s {split}")
    return result


def _off_image(sample: Sample, pixels: np.ndarray) -> list[str]:
    """Whether the hand lies outside its image altogether, as with a wrong unit or camera."""
    if sample.keypoints_2d is None:
        return []
    known = sample.keypoints_2d[sample.keypoints_2d[:, 2] > 0, :2]
    height, width = pixels.shape[:2]
    inside = ((known >= 0) & (known <= (width, height))).all(1)
    return [] if inside.any() else [f"no keypoint lies inside the image of {width} x {height} px"]


def _tile(sample: Sample, pixels: np.ndarray) -> np.ndarray:
    flat = sample.keypoints_2d
    if flat is None:
        raise InputError(f"sample {sample.name} has no 2D keypoints")
    image, into = window(pixels, sample.hand_box, 1.8, TILE_PX)
    image = draw_bones(image, into(flat[:, :2]), flat[:, 2] > 0, finger_colours(), 1)
    return written(image, sample.side[0].upper(), (4, 2), (255, 255, 255))
