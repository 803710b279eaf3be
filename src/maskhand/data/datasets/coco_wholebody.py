"""COCO-WholeBody (Jin et al., ECCV 2020), its hands.

annotations/coco_wholebody_{train,val}_v1.0.json    COCO style; per person lefthand_kpts, righthand_kpts 63 (x, y, v),
                                                    lefthand_box, righthand_box (x, y, w, h), lefthand_valid,
                                                    righthand_valid
{train,val}2017/{file_name}                         COCO 2017's images

OpenPose's joint order; v is 0 where nothing was annotated. 2D only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, read_json
from maskhand.data.sample import Sample
from maskhand.types import Side

_SIDES: tuple[Side, ...] = ("right", "left")


def _read(root: Path, split: str) -> Iterator[Sample]:
    path = root / "annotations" / f"coco_wholebody_{split}_v1.0.json"
    content = read_json(path)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for entry in content["annotations"]:
        for side in _SIDES:
            if not entry.get(f"{side}hand_valid"):
                continue
            what = f"{path} annotation {entry['id']}"
            x, y, width, height = array(entry[f"{side}hand_box"], (4,), f"{what}: {side}hand_box")
            points = array(entry[f"{side}hand_kpts"], (21, 3), f"{what}: {side}hand_kpts")
            yield Sample(
                name=f"{split}/{entry['id']}/{side}",
                image=found(root / f"{split}2017" / names[entry["image_id"]]),
                side=side,
                box=np.array([x, y, x + width, y + height]),
                keypoints_2d=np.c_[points[:, :2], points[:, 2] > 0],
            )


DATASETS = (
    Dataset(
        name="coco-wholebody",
        title="COCO-WholeBody",
        url="https://github.com/jin-s13/COCO-WholeBody",
        licence="research only, no commercial use; images: their own on Flickr",
        splits={"train": None, "val": None},
        read=_read,
    ),
)
