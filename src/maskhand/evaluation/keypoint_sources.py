"""Where a benchmark's 2D pose comes from: the network's own, the truth with noise, or OpenPose's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from maskhand.data.sample import Sample
from maskhand.detection.openpose_json import hand_in_box, read_openpose
from maskhand.errors import InputError

MIN_KNOWN = 3
"""Fewer annotated keypoints say too little; the built-in ones are used then."""
KeypointSource = Callable[[Sample, np.ndarray], np.ndarray | None]
"""(21, 3) keypoints [px, confidence] for a sample and its image; None for the built-in ones."""


def noisy_truth(spread: float, seed: int = 0) -> KeypointSource:
    """The annotated keypoints, moved by Gaussian noise of `spread` sides of the hand's box."""

    def source(sample: Sample, image: np.ndarray) -> np.ndarray | None:
        if sample.keypoints_2d is None:
            raise InputError(f"sample {sample.name} has no 2D keypoints to use")
        if (sample.keypoints_2d[:, 2] > 0).sum() < MIN_KNOWN:
            return None
        rng = np.random.default_rng([seed, *sample.name.encode()])
        points = sample.keypoints_2d.copy()
        side = (sample.hand_box[2:] - sample.hand_box[:2]).max()
        points[:, :2] += spread * side * rng.standard_normal((21, 2))
        return points

    return source


def openpose_source(folder: Path, samples: Sequence[Sample], root: Path) -> KeypointSource:
    """Keypoints from OpenPose's JSON files, laid out like `root` or, where image names are unique, all in one folder.

    Raises:
        InputError: there is no such folder.

    """
    if not folder.is_dir():
        raise InputError(
            f"--keypoints is {str(folder)!r}; expected `builtin`, `truth`, or a folder of OpenPose's JSON files"
        )
    stems = [sample.image.stem for sample in samples if isinstance(sample.image, Path)]
    images = {str(sample.image) for sample in samples}
    flat = len(set(stems)) == len(images)

    def source(sample: Sample, image: np.ndarray) -> np.ndarray | None:
        if not isinstance(sample.image, Path):
            raise InputError(f"sample {sample.name} is no file of its own; OpenPose's files go by image names")
        own = sample.image.relative_to(root)
        path = folder / own.with_name(f"{own.stem}_keypoints.json")
        if not path.exists() and flat:
            path = folder / path.name
        return hand_in_box(read_openpose(path), sample.side, sample.hand_box)

    return source


class CountedSource:
    """A source that counts the samples it has nothing for."""

    def __init__(self, source: KeypointSource) -> None:
        self.source, self.missed = source, 0

    def __call__(self, sample: Sample, image: np.ndarray) -> np.ndarray | None:
        points = self.source(sample, image)
        self.missed += points is None
        return points

    def notes(self) -> list[str]:
        """What a report says of it."""
        return [f"{self.missed} samples had no 2D pose there; built-in keypoints in them"] if self.missed else []


def keypoint_source(kind: str, noise: float, samples: Sequence[Sample], root: Path) -> CountedSource | None:
    """`builtin`: None; `truth`: annotated keypoints with noise, in sides of the hand's box; else OpenPose's folder."""
    if kind == "builtin":
        return None
    return CountedSource(noisy_truth(noise) if kind == "truth" else openpose_source(Path(kind), samples, root))
