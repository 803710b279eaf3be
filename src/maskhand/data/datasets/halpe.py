"""Halpe Full-Body (Fang et al., TPAMI 2022), its hands.

annotations/halpe_{train,val}_v1.json      COCO style; keypoints 136 x 3 (x, y, score): 0-25 body, 26-93 face,
                                           94-114 left hand, 115-135 right hand, in OpenPose's order
images/train2015/{file_name} (HICO-DET), images/val2017/{file_name} (COCO)

2D only. Hands with fewer than `MIN_KNOWN` annotated keypoints are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, read_json
from maskhand.data.sample import Sample
from maskhand.types import Side

MIN_KNOWN = 5
_HANDS: tuple[tuple[Side, slice], ...] = (("left", slice(94, 115)), ("right", slice(115, 136)))
_FOLDERS = {"train": "train2015", "val": "val2017"}


def _read(root: Path, split: str) -> Iterator[Sample]:
    path = root / "annotations" / f"halpe_{split}_v1.json"
    content = read_json(path)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for index, entry in enumerate(content["annotations"]):
        every = array(entry["keypoints"], (136, 3), f"{path} annotation {entry.get('id', index)}: keypoints")
        for side, own in _HANDS:
            points = every[own]
            known = points[:, 2] > 0
            if known.sum() < MIN_KNOWN:
                continue
            yield Sample(
                name=f"{split}/{entry.get('id', index)}/{side}",
                image=found(root / "images" / _FOLDERS[split] / names[entry["image_id"]]),
                side=side,
                keypoints_2d=np.c_[points[:, :2], known],
            )


DATASETS = (
    Dataset(
        name="halpe",
        title="Halpe Full-Body",
        url="https://github.com/Fang-Haoshu/Halpe-FullBody",
        licence="no commercial use",
        splits={"train": None, "val": None},
        read=_read,
    ),
)
