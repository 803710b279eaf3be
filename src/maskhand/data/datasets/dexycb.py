"""DexYCB (Chao et al., CVPR 2021): its own files, and the COCO-style lists that later work evaluates on.

{subject}/{date}/{serial}/color_{:06d}.jpg, labels_{:06d}.npz   640x480; joint_3d (1, 21, 3) [m], joint_2d (1, 21, 2)
[px],
                                                                 -1 where there is no hand; pose_m (1, 51)
{subject}/{date}/meta.yml                                        serials, num_frames, mano_sides [left | right],
mano_calib calibration/intrinsics/{serial}_640x480.yml                      color: fx, fy, ppx, ppy

OpenPose's joint order, camera frame. pose_m holds 45 PCA coefficients of MANO (its mean pose not in them), which is no
pose vector without MANO's basis, and is left out here.

Splits: s0_train, s0_val, s0_test by subject and sequence (`s0_split`); with
annotations/DEX_YCB_s0_{train,test}_data.json in the
folder, peers_train and peers_test read those instead: images (file_name), annotations (image_id, hand_type,
joints_coord_cam [m, some copies mm], joints_img, cam_param: focal, princpt; mano_param: pose 48 axis angles, shape 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, labelled_points, read_json, read_npz, with_confidence
from maskhand.data.sample import Sample
from maskhand.errors import InputError


def s0_split(subject: int, sequence: int) -> str:
    """train, val or test of setup s0, from the places of a subject and of a sequence of his in their sorted lists."""
    if sequence % 5 != 4:
        return "train"
    return "val" if subject < 2 else "test"


def read_yaml(path: Path) -> dict[str, Any]:
    """Raises InputError: it is no YAML mapping."""
    try:
        import yaml
    except ImportError:
        raise InputError("DexYCB's files need PyYAML: pip install 'maskhand[train]'") from None
    try:
        content = yaml.safe_load(found(path).read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no mapping")
    return content


def _read(root: Path, split: str) -> Iterator[Sample]:
    kind, part = split.split("_")
    yield from (_peers if kind == "peers" else _original)(root, part)


def _original(root: Path, part: str) -> Iterator[Sample]:
    subjects = sorted(p for p in root.iterdir() if p.is_dir() and "-subject-" in p.name)
    if not subjects:
        found(root / "20200709-subject-01")
    for folder in subjects:
        subject = int(folder.name.rsplit("-", 1)[1]) - 1
        for index, sequence in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
            if s0_split(subject, index) == part:
                yield from _sequence(root, sequence)


def _sequence(root: Path, sequence: Path) -> Iterator[Sample]:
    meta = read_yaml(sequence / "meta.yml")
    for key in ("serials", "num_frames", "mano_sides"):
        if key not in meta:
            raise InputError(f"{sequence / 'meta.yml'} has no {key}")
    for serial in meta["serials"]:
        colour = read_yaml(root / "calibration" / "intrinsics" / f"{serial}_640x480.yml").get("color", {})
        try:
            intrinsic = np.array([[colour["fx"], 0, colour["ppx"]], [0, colour["fy"], colour["ppy"]], [0, 0, 1.0]])
        except KeyError as error:
            raise InputError(f"intrinsics of camera {serial} have no {error.args[0]}") from None
        for frame in range(meta["num_frames"]):
            path = sequence / str(serial) / f"labels_{frame:06d}.npz"
            labels = read_npz(path)
            if "joint_3d" not in labels:
                raise InputError(f"{path} has no joint_3d")
            points = array(labels["joint_3d"], (21, 3), f"{path}: joint_3d")
            if (points == -1).all():
                continue  # no hand in this frame
            yield Sample(
                name="/".join([*sequence.parts[-2:], str(serial), f"{frame:06d}"]),
                image=found(sequence / str(serial) / f"color_{frame:06d}.jpg"),
                side=meta["mano_sides"][0],
                **labelled_points(points, intrinsic),
            )


def _peers(root: Path, part: str) -> Iterator[Sample]:
    path = root / "annotations" / f"DEX_YCB_s0_{part}_data.json"
    content = read_json(path)
    images = {image["id"]: image for image in content["images"]}
    for entry in content["annotations"]:
        what = f"{path} annotation {entry.get('id')}"
        if entry["image_id"] not in images:
            raise InputError(f"{what}: image {entry['image_id']} is not in the list of images")
        points = array(entry["joints_coord_cam"], (21, 3), f"{what}: joints_coord_cam")
        if np.abs(points[:, 2]).mean() > 10:
            points = points / 1000  # a copy in millimetres
        focal, centre = entry["cam_param"]["focal"], entry["cam_param"]["princpt"]
        intrinsic = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])
        mano = entry.get("mano_param") or {}
        labels = labelled_points(points, intrinsic)
        if "joints_img" in entry:
            flat = np.asarray(entry["joints_img"], float)[:, :2]
            labels["keypoints_2d"] = with_confidence(array(flat, (21, 2), f"{what}: joints_img"))
        yield Sample(
            name=str(entry["id"]),
            image=found(root / images[entry["image_id"]]["file_name"]),
            side=entry["hand_type"],
            mano_pose=array(mano["pose"], (48,), f"{what}: pose") if "pose" in mano else None,
            mano_shape=array(mano["shape"], (10,), f"{what}: shape") if "shape" in mano else None,
            **labels,
        )


DATASETS = (
    Dataset(
        name="dexycb",
        title="DexYCB",
        url="https://dex-ycb.github.io/",
        licence="CC BY-NC 4.0",
        splits={
            "s0_train": None,
            "s0_val": None,
            "s0_test": None,
            "peers_train": 406_888,
            "peers_test": 78_768,
        },
        read=_read,
    ),
)
