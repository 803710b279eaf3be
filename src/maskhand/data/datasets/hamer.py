"""HaMeR's own packings (Pavlakos et al., CVPR 2024): training shards and evaluation lists.

hamer-shards: folders of webdataset tars; per image {key}.jpg and {key}.data.pyd, a pickle of a list of dicts:
    keypoints_2d (21, 3) [px, confidence], keypoints_3d (21, 4) [m, confidence], center 2, scale (px / 200), right 0 or
    1, hand_pose 48 and betas 10 with has_hand_pose, has_betas. Read without running anything in the pickle. Split: a
    glob of tars.
hamer-eval: {split}.npz with imgname, center, scale (here in px), hand_keypoints_2d (N, 21, 3), and where known right (1
if not),
    hand_keypoints_3d (N, 21, 4), hand_pose, betas; other members, pickled ones among them, are left alone. Images lie
    below the same folder by `imgname`. Split: the file's name; the only file there if left out.

OpenPose's joint order; keypoints_3d are about the wrist, so no intrinsics follow from them. Left hands are as
photographed.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, read_npz, same_length
from maskhand.data.sample import Sample
from maskhand.errors import InputError
from maskhand.hand_model.mano import RestrictedUnpickler


def _shards(root: Path, split: str) -> Iterator[Sample]:
    tars = sorted(root.rglob(f"{split}.tar"))
    if not tars:
        found(root / f"{split}.tar")
    for tar in tars:
        yield from _shard(tar, str(tar.relative_to(root).with_suffix("")))


def _shard(tar: Path, name: str) -> Iterator[Sample]:
    images: dict[str, bytes] = {}
    labels: dict[str, Any] = {}
    count = 0
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                folder, _, file = member.name.rpartition("/")
                stem, _, kind = file.partition(".")
                key = f"{folder}/{stem}".removeprefix("./").removeprefix("/")
                content = archive.extractfile(member)
                if content is None:
                    continue
                if kind in ("jpg", "jpeg", "png"):
                    images[key] = content.read()
                elif kind == "data.pyd":
                    labels[key] = RestrictedUnpickler(io.BytesIO(content.read()), encoding="latin1").load()
                if key in images and key in labels:
                    count += 1
                    for number, entry in enumerate(labels.pop(key)):
                        yield _entry(f"{name}/{key}/{number}", images[key], entry)
                    del images[key]
    except (tarfile.TarError, EOFError, pickle.UnpicklingError, IndexError) as error:
        raise InputError(f"{tar} cannot be read as one of HaMeR's shards: {error}") from error
    if not count:
        raise InputError(f"{tar} holds no image with labels beside it (KEY.jpg and KEY.data.pyd)")
    if images or labels:
        raise InputError(f"{tar}: {next(iter({**images, **labels}))} has no {'labels' if images else 'image'}")


def _entry(name: str, image: bytes | Path, entry: dict[str, Any]) -> Sample:
    centre, size = np.asarray(entry["center"], float), 200 * np.broadcast_to(np.asarray(entry["scale"], float), (2,))
    flat = array(entry["keypoints_2d"], (21, 3), f"{name}: keypoints_2d")
    solid = entry.get("keypoints_3d")
    points = None if solid is None else array(solid, (21, 4), f"{name}: keypoints_3d")
    return Sample(
        name=name,
        image=image,
        side="right" if float(entry["right"]) > 0.5 else "left",
        box=np.concatenate([centre - size / 2, centre + size / 2]),
        keypoints_2d=flat,
        keypoints_3d=points if points is not None and (points[:, 3] > 0).any() else None,
        mano_pose=array(entry["hand_pose"], (48,), f"{name}: hand_pose")
        if np.any(entry.get("has_hand_pose", False))
        else None,
        mano_shape=array(entry["betas"], (10,), f"{name}: betas") if np.any(entry.get("has_betas", False)) else None,
    )


def _evaluation(root: Path, split: str) -> Iterator[Sample]:
    if split == "*":
        lists = sorted(root.glob("*.npz"))
        if len(lists) != 1:
            names = ", ".join(path.stem for path in lists) or "no npz file is there"
            raise InputError(f"{root}: say which list with --split: {names}")
        split = lists[0].stem
    path = root / f"{split}.npz"
    needed = ("imgname", "center", "scale", "hand_keypoints_2d")
    arrays = read_npz(path, (*needed, "right", "hand_keypoints_3d", "hand_pose", "betas", "has_hand_pose", "has_betas"))
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}")
    count = same_length(**arrays)
    back = {"hand_keypoints_2d": "keypoints_2d", "hand_keypoints_3d": "keypoints_3d"}
    for index in range(count):
        entry = {back.get(key, key): values[index] for key, values in arrays.items()}
        entry |= {"scale": entry["scale"] / 200, "right": entry.get("right", 1)}
        name = entry["imgname"].decode() if isinstance(entry["imgname"], bytes) else str(entry["imgname"])
        yield _entry(f"{split}/{index:06d}/{name}", found(root / name), entry)


DATASETS = (
    Dataset(
        name="hamer-shards",
        title="HaMeR's training shards",
        url="https://github.com/geopavlakos/hamer",
        licence="each data set's own; HaMeR's packing: MIT",
        splits={"*": None},
        read=_shards,
    ),
    Dataset(
        name="hamer-eval",
        title="HaMeR's evaluation lists",
        url="https://github.com/geopavlakos/hamer",
        licence="each data set's own; HaMeR's packing: MIT",
        splits={"*": None},
        read=_evaluation,
    ),
)
