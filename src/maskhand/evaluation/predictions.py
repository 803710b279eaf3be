"""Predictions of a benchmark as arrays and as files: the official submission format, written, read back and checked.

3D: pred.json = [xyz, verts], N x 21 x 3 and N x 778 x 3 in the benchmark's axes, order and metres (FreiHAND's and
HO3D's format; DexYCB's here too), zipped as pred.zip. A hand model with other vertices than MANO's writes an empty list
of vertices. 2D (HInt): pred.json = [keypoints], N x 21 x 2 in pixels.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.data.sample import bone_lengths, likely_order
from maskhand.errors import InputError
from maskhand.evaluation.protocols import Protocol
from maskhand.io.files import made_folder

MANO_VERTICES = 778
MEMBER = "pred.json"


@dataclass(frozen=True)
class Predictions:
    """One system's predictions in the order of the benchmark: our axes, OpenPose's order."""

    joints: np.ndarray
    """(N, 21, 3) [m], or (N, 21, 2) [px]."""
    vertices: np.ndarray | None = None
    """(N, 778, 3) [m]."""

    def first(self, count: int | None) -> Predictions:
        """The first so many; all of them for None."""
        return Predictions(self.joints[:count], None if self.vertices is None else self.vertices[:count])


def save_predictions(path: str | Path, predictions: Predictions, protocol: Protocol) -> list[Path]:
    """Write pred.json and pred.zip beside each other; returns both."""
    path = made_folder(path)
    joints = predictions.joints[:, list(protocol.order)]
    content: list[Any] = [_rounded(joints * protocol.axes if protocol.kind == "3d" else joints)]
    if protocol.kind == "3d":
        content.append([] if predictions.vertices is None else _rounded(predictions.vertices * protocol.axes))
    text = json.dumps(content)
    (path / MEMBER).write_text(text)
    with zipfile.ZipFile(path / "pred.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, text)
    return [path / MEMBER, path / "pred.zip"]


def _rounded(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(np.float64), 7).tolist()


def load_predictions(path: str | Path, protocol: Protocol, names: Sequence[str]) -> tuple[Predictions, list[str]]:
    """Anyone's submission file, checked against the benchmark's samples. Returns it with warnings.

    Raises:
        InputError: no such file, not in the format, a wrong count, NaN, or most hands in another joint order.

    """
    path = Path(path)
    content = _content(path)
    wanted = 2 if protocol.kind == "3d" else 1
    if not isinstance(content, list) or len(content) != wanted:
        raise InputError(
            f"{path} should hold a list of {wanted}: " + ("[xyz, verts]" if wanted == 2 else "[keypoints]")
        )
    width = 3 if protocol.kind == "3d" else 2
    joints = _array(content[0], 21, width, path, "joints", names)
    order_in_file = np.argsort(protocol.order)
    joints = joints[:, order_in_file]
    vertices = None
    if wanted == 2:
        joints = joints * protocol.axes
        if content[1]:
            vertices = _array(content[1], MANO_VERTICES, 3, path, "vertices", names) * protocol.axes
    return Predictions(joints, vertices), _order_warnings(joints, path, names, protocol)


def _content(path: Path) -> Any:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read(MEMBER))
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; a submission is {MEMBER}, or a zip that holds it") from None
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        KeyError,
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        raise InputError(
            f"{path} cannot be read as a submission ({MEMBER}, or a zip that holds it): {error}"
        ) from error


def _array(values: Any, points: int, width: int, path: Path, what: str, names: Sequence[str]) -> np.ndarray:
    if not isinstance(values, list) or len(values) != len(names):
        count = len(values) if isinstance(values, list) else 0
        raise InputError(f"{path} has {count} {what}, the benchmark {len(names)} samples")
    for name, value in zip(names, values, strict=True):
        try:
            shape = np.asarray(value, np.float64).shape
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, sample {name}: {what} are not {(points, width)} numbers: {error}") from error
        if shape != (points, width):
            raise InputError(f"{path}, sample {name}: {what} have shape {shape}; expected {(points, width)}")
    array = np.asarray(values, np.float64)
    bad = np.flatnonzero(~np.isfinite(array).all((1, 2)))
    if bad.size:
        raise InputError(f"{path}, sample {names[bad[0]]}: {what} hold NaN or infinite values ({bad.size} samples do)")
    return array


def _order_warnings(joints: np.ndarray, path: Path, names: Sequence[str], protocol: Protocol) -> list[str]:
    if protocol.kind == "2d":
        return []
    sizes = bone_lengths(joints).sum(1)
    if joints.any() and not 0.2 < np.median(sizes[sizes > 0]) < 3.0:
        raise InputError(
            f"{path}, sample {names[0]} and others: the hands' bones are {np.median(sizes):.3g} long together; "
            "in metres a hand's are 0.5 to 1 (other unit?)"
        )
    order = likely_order(joints) if joints.any() else None
    if order:
        raise InputError(
            f"{path}, sample {names[0]} and others: joints look like they are in {order} order; "
            f"{protocol.title}'s files want another"
        )
    odd = [
        (name, own)
        for name, points in zip(names, joints, strict=True)
        if points.any() and (own := likely_order(points))
    ]
    return [f"sample {name}: joints look like they are in {own} order" for name, own in odd]
