"""What every reader needs: where a data set comes from, and reading its files with errors that help."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskhand.data.sample import Sample, problems, projected
from maskhand.errors import UNREADABLE_NPZ, InputError
from maskhand.hand_model.mano import RestrictedUnpickler


def turned_pose(pose: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """MANO's (48,) axis angles with the whole hand turned: from another frame into the camera's, by `rotation` (3,
    3).
    """
    first = cv2.Rodrigues(rotation @ cv2.Rodrigues(pose[:3].astype(np.float64))[0])[0][:, 0]
    return np.concatenate([first, pose[3:]])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set in its original files."""

    name: str
    title: str
    url: str
    """Where to get it."""
    licence: str
    splits: Mapping[str, int | None]
    """Split -> how many images it has as published, where that is known."""
    read: Callable[[Path, str], Iterator[Sample]]

    def samples(self, root: str | Path, split: str) -> Iterator[Sample]:
        """All hands of a split, unchecked.

        Raises:
            InputError: no such split; a file is missing or damaged (the message names it and where the data come
                from).

        """
        if split not in self.splits and "*" not in self.splits:
            raise InputError(f"{self.title} has no split {split!r}; one of {', '.join(self.splits)}")
        root = Path(root)
        if not root.exists():
            raise InputError(f"{root} does not exist. {self.where}")
        try:
            yield from self.read(root, split)
        except MissingFile as error:
            raise InputError(f"{error}. {self.where}") from None
        except InputError:
            raise
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"{self.title} {split} in {root} is not laid out as published: "
                f"{type(error).__name__} {error}. {self.where}"
            ) from error

    def checked(self, root: str | Path, split: str) -> Iterator[Sample]:
        """The same; the first sample with damaged labels raises, named."""
        for sample in self.samples(root, split):
            wrong = problems(sample)
            if wrong:
                raise InputError(f"{self.title} {split}, sample {sample.name}: {'; '.join(wrong)}")
            yield sample

    @property
    def where(self) -> str:
        return f"{self.title}: {self.url} (licence: {self.licence})"


class MissingFile(Exception):  # noqa: N818
    """A file of a data set is not there."""


def found(path: Path) -> Path:
    """The path, if something is there.

    Raises:
        MissingFile: nothing is.

    """
    if not path.exists():
        raise MissingFile(f"{path} does not exist")
    return path


def read_json(path: Path) -> Any:
    try:
        return json.loads(found(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no JSON file, or is cut short: {error}") from error


def read_pickle(path: Path) -> Any:
    """A pickle of plain containers and NumPy arrays; anything else in it is refused, never run."""
    try:
        with found(path).open("rb") as file:
            return RestrictedUnpickler(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a pickle of arrays: {error}") from error


def read_npz(path: Path, keys: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file, those of `keys` alone if given (as far as they are there)."""
    try:
        with np.load(found(path), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if keys is None or key in keys}
    except UNREADABLE_NPZ as error:
        raise InputError(f"{path} cannot be read as an npz file of plain arrays: {error}") from error


def same_length(**lists: Any) -> int:
    """The common length of lists, by name.

    Raises:
        InputError: they differ.

    """
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            "files do not fit together: " + ", ".join(f"{name} has {n} entries" for name, n in lengths.items())
        )
    return next(iter(lengths.values()))


def array(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A float64 array of a shape.

    Raises:
        InputError: it is not; names what.

    """
    try:
        return np.asarray(value, np.float64).reshape(shape)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is not {shape} numbers: {error}") from error


def with_confidence(points: np.ndarray, confidence: np.ndarray | float = 1.0) -> np.ndarray:
    """(21, d) -> (21, d + 1)."""
    return np.concatenate([points, np.broadcast_to(np.asarray(confidence, float), (len(points),))[:, None]], axis=1)


def labelled_points(
    points: np.ndarray, intrinsic: np.ndarray, confidence: np.ndarray | float = 1.0
) -> dict[str, np.ndarray]:
    """The fields of a `Sample` that follow from 3D keypoints (21, 3) [m] in the camera's frame and its intrinsics.

    What is not annotated (confidence 0) lies at the mean of the rest, so that no filler value is ever projected.
    """
    known = np.broadcast_to(np.asarray(confidence, float), (len(points),)) > 0
    if known.any():
        points = np.where(known[:, None], points, points[known].mean(0))
    return {
        "keypoints_3d": with_confidence(points, confidence),
        "keypoints_2d": with_confidence(projected(points, intrinsic), confidence),
        "intrinsic": np.asarray(intrinsic, float),
    }
