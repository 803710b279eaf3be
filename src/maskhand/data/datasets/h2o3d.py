"""H2O-3D (Hampali et al., CVPR 2022, Keypoint Transformer): two hands and an object, laid out like HO3D v3.

{train,evaluation}/{SEQ}/rgb/{frame}.jpg, {train,evaluation}/{SEQ}/meta/{frame}.pkl, {split}.txt; in a meta dict:
    rightHandJoints3D, leftHandJoints3D (21, 3) [m]     OpenGL axes, HO3D's joint order
    jointValidRight, jointValidLeft (21,)               0 where nothing was fitted
    rightHandPose, leftHandPose 48, handBeta 10         MANO, axis angles, flat hand; one shape for both hands
    camMat (3, 3)
Evaluation frames have no joints; only training can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.datasets.ho3d import FROM_OPENGL, field, frames, image_of
from maskhand.data.datasets.source import Dataset, array, labelled_points, read_pickle, turned_pose
from maskhand.data.sample import Sample, to_keypoints
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D
from maskhand.types import Side

_SIDES: tuple[Side, ...] = ("right", "left")


def _read(root: Path, split: str) -> Iterator[Sample]:
    for sequence, frame in frames(root, split):
        folder = root / split / sequence
        path = folder / "meta" / f"{frame}.pkl"
        meta = read_pickle(path)
        for side in _SIDES:
            valid = meta.get(f"jointValid{side.title()}")
            valid = np.ones(21) if valid is None else array(valid, (21,), f"{path}: jointValid{side.title()}")
            if not valid.any():
                continue
            key = f"{side}HandJoints3D"
            points = array(field(meta, key, path), (21, 3), f"{path}: {key}") * FROM_OPENGL
            pose = array(field(meta, f"{side}HandPose", path), (48,), f"{path}: {side}HandPose")
            yield Sample(
                name=f"{split}/{sequence}/{frame}/{side}",
                image=image_of(folder, frame),
                side=side,
                mano_pose=turned_pose(pose, np.diag(FROM_OPENGL)),
                mano_shape=array(field(meta, "handBeta", path), (10,), f"{path}: handBeta"),
                **labelled_points(
                    to_keypoints(points, OPENPOSE_TO_HO3D),
                    array(field(meta, "camMat", path), (3, 3), f"{path}: camMat"),
                    to_keypoints(valid[:, None], OPENPOSE_TO_HO3D)[:, 0] > 0,
                ),
            )


DATASETS = (
    Dataset(
        name="h2o3d",
        title="H2O-3D",
        url="https://www.tugraz.at/index.php?id=57823",
        licence="research only, no commercial use",
        splits={"train": 60_998},
        read=_read,
    ),
)
