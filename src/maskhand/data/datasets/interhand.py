"""InterHand2.6M (Moon et al., ECCV 2020), the 5 or 30 fps release.

annotations/{split}/InterHand2.6M_{split}_data.json       COCO style: images (id, file_name, capture, camera,
frame_idx),
                                                          annotations (image_id, hand_type, joint_valid 42, bbox x, y,
                                                          w, h)
annotations/{split}/InterHand2.6M_{split}_camera.json     capture -> campos, camrot, focal, princpt, each camera ->
numbers annotations/{split}/InterHand2.6M_{split}_joint_3d.json   capture -> frame -> world_coord (42, 3) [mm],
joint_valid (42) annotations/{split}/InterHand2.6M_{split}_MANO_NeuralAnnot.json   capture -> frame -> right | left ->
pose 48, shape 10, trans 3 images/{split}/{file_name}

World to camera: R (X - campos). Joints 0-20 are the right hand's, thumb first, each finger from tip to palm, the wrist
last; 21-41 the left's. MANO poses are axis angles without the mean pose, the hand's against the world, turned into the
camera's frame here. One sample per hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, labelled_points, read_json, turned_pose
from maskhand.data.sample import WRIST_LAST, Sample, to_keypoints
from maskhand.errors import InputError
from maskhand.types import Side

_SIDES: tuple[Side, ...] = ("right", "left")


def _read(root: Path, split: str) -> Iterator[Sample]:
    stem = root / "annotations" / split / f"InterHand2.6M_{split}"
    data, cameras, joints = (
        read_json(stem.with_name(f"{stem.name}_{what}.json")) for what in ("data", "camera", "joint_3d")
    )
    mano_path = stem.with_name(f"{stem.name}_MANO_NeuralAnnot.json")
    mano = read_json(mano_path) if mano_path.exists() else {}
    images = {image["id"]: image for image in data["images"]}
    for entry in data["annotations"]:
        image = images.get(entry["image_id"])
        if image is None:
            raise InputError(
                f"{split}: annotation {entry.get('id')} names image {entry['image_id']}, which is not listed"
            )
        capture, camera, frame = (str(image[key]) for key in ("capture", "camera", "frame_idx"))
        try:
            seen = {
                key: np.asarray(cameras[capture][key][camera], float)
                for key in ("campos", "camrot", "focal", "princpt")
            }
            world = joints[capture][frame]
        except KeyError as error:
            raise InputError(f"{split}, image {image['file_name']}: no camera or joints for {error}") from None
        points = array(world["world_coord"], (42, 3), f"{split} {capture}/{frame}: world_coord")
        in_camera = (points - seen["campos"]) @ seen["camrot"].T / 1000
        focal, centre = seen["focal"], seen["princpt"]
        intrinsic = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])
        valid = np.asarray(entry["joint_valid"], float).ravel()
        for k, side in enumerate(_SIDES):
            own = slice(21 * k, 21 * k + 21)
            if not valid[own].any():
                continue
            fitted = (mano.get(capture, {}).get(frame, {}) or {}).get(side) or {}
            yield Sample(
                name=f"{image['file_name']}/{side}",
                image=found(root / "images" / split / image["file_name"]),
                side=side,
                mano_pose=turned_pose(np.asarray(fitted["pose"], float), seen["camrot"]) if fitted else None,
                mano_shape=np.asarray(fitted["shape"], float) if fitted else None,
                **labelled_points(
                    to_keypoints(in_camera[own], WRIST_LAST),
                    intrinsic,
                    to_keypoints(valid[own, None], WRIST_LAST)[:, 0],
                ),
            )


DATASETS = (
    Dataset(
        name="interhand",
        title="InterHand2.6M",
        url="https://mks0601.github.io/InterHand2.6M/",
        licence="CC BY-NC 4.0",
        splits={"train": 1_361_062, "val": 380_125, "test": 849_160},
        read=_read,
    ),
)
