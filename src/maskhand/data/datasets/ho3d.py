"""HO3D v2 and v3 (Hampali et al., CVPR 2020).

{train,evaluation}/{SEQ}/rgb/{frame}.png (v2) or .jpg (v3)
{train,evaluation}/{SEQ}/meta/{frame}.pkl   a pickle of a dict, Python 2 or 3:
    handJoints3D (21, 3) [m] in training, (3,) the wrist alone in evaluation
    handPose 48, handBeta 10, handTrans 3   MANO, axis angles, flat hand (training)
    camMat (3, 3), handBoundingBox 4 (evaluation: x1, y1, x2, y2)
train.txt, evaluation.txt                   SEQ/frame, a line each: the order of submissions
evaluation_xyz.json, evaluation_verts.json  [N][21][3], [N][778][3] [m], published later

OpenGL axes (y up, z towards the viewer), turned into ours here; joints in MANO's order with tips thumb to little
(`OPENPOSE_TO_HO3D`). Right hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.data.datasets.source import (
    Dataset,
    array,
    found,
    labelled_points,
    read_json,
    read_pickle,
    same_length,
    turned_pose,
)
from maskhand.data.sample import Sample, to_keypoints
from maskhand.errors import InputError
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D

FROM_OPENGL = np.array([1.0, -1.0, -1.0])


def frames(root: Path, split: str) -> list[tuple[str, str]]:
    """(sequence, frame) in the order of the split's list."""
    lines = found(root / f"{split}.txt").read_text().split()
    pairs = [line.split("/") for line in lines]
    bad = [line for line, pair in zip(lines, pairs, strict=True) if len(pair) != 2]
    if bad:
        raise InputError(f"{root / f'{split}.txt'}: {bad[0]!r} is no SEQUENCE/FRAME")
    return [(sequence, frame) for sequence, frame in pairs]


def image_of(folder: Path, frame: str) -> Path:
    """v2 keeps PNG files, v3 JPEG."""
    for suffix in (".jpg", ".png"):
        if (folder / "rgb" / f"{frame}{suffix}").exists():
            return folder / "rgb" / f"{frame}{suffix}"
    return found(folder / "rgb" / f"{frame}.jpg")


def field(meta: Any, key: str, path: Path) -> Any:
    """A field of a meta dict.

    Raises:
        InputError: it is not there.

    """
    if not isinstance(meta, dict) or meta.get(key) is None:
        raise InputError(f"{path} has no {key}")
    return meta[key]


def _read(root: Path, split: str) -> Iterator[Sample]:
    names = frames(root, split)
    truth: list[Any] | None = None
    if split == "evaluation":
        truth = [read_json(root / f"evaluation_{what}.json") for what in ("xyz", "verts")]
        same_length(evaluation=names, evaluation_xyz=truth[0], evaluation_verts=truth[1])
    for index, (sequence, frame) in enumerate(names):
        folder = root / split / sequence
        path = folder / "meta" / f"{frame}.pkl"
        meta = read_pickle(path)
        points = field(meta, "handJoints3D", path) if truth is None else truth[0][index]
        what = f"{path}: handJoints3D" if truth is None else f"evaluation_xyz.json entry {index}"
        in_order = to_keypoints(array(points, (21, 3), what), OPENPOSE_TO_HO3D) * FROM_OPENGL
        box = meta.get("handBoundingBox")
        pose = _optional(meta, "handPose", 48, path) if truth is None else None
        yield Sample(
            name=f"{split}/{sequence}/{frame}",
            image=image_of(folder, frame),
            side="right",
            box=None if box is None else array(box, (4,), f"{path}: handBoundingBox"),
            vertices=None
            if truth is None
            else array(truth[1][index], (-1, 3), f"evaluation_verts.json entry {index}") * FROM_OPENGL,
            mano_pose=None if pose is None else turned_pose(pose, np.diag(FROM_OPENGL)),
            mano_shape=_optional(meta, "handBeta", 10, path) if truth is None else None,
            **labelled_points(in_order, array(field(meta, "camMat", path), (3, 3), f"{path}: camMat")),
        )


def _optional(meta: dict[str, Any], key: str, length: int, path: Path) -> np.ndarray | None:
    return None if meta.get(key) is None else array(meta[key], (length,), f"{path}: {key}")


DATASETS = tuple(
    Dataset(
        name=f"ho3d{version}",
        title=f"HO3D {version}",
        url="https://www.tugraz.at/index.php?id=40231",
        licence="research only, no commercial use",
        splits={"train": train, "evaluation": evaluation},
        read=_read,
    )
    for version, train, evaluation in (("v2", 66_034, 11_524), ("v3", 83_325, 20_137))
)
