"""HInt (Pavlakos et al., CVPR 2024): 2D keypoints with occlusion on NewDays, EPIC-KITCHENS VISOR and Ego4D frames.

{TRAIN,VAL,TEST}_{newdays,epick,ego4d}_{img,seq}/{name}_{l|r}.jpg and .json; in the JSON a list of one dict:
    keypoints [21][2] [px], occlusion [21] (1: hidden), bbox [[x1, y1, x2, y2]] [px]

The last letter of the name is the hand's side; OpenPose's joint order. A keypoint at a negative place was not
annotated. The Ego4D frames have to be cut from Ego4D's own videos. Splits: newdays, visor, ego4d (the test images), or
the training and validation images, {train,val}_{newdays,epick,ego4d}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, read_json
from maskhand.data.sample import Sample
from maskhand.errors import InputError

BENCHMARK = {"newdays": "TEST_newdays_img", "visor": "TEST_epick_img", "ego4d": "TEST_ego4d_img"}


def _read(root: Path, split: str) -> Iterator[Sample]:
    if split in BENCHMARK:
        folder = BENCHMARK[split]
    else:
        part, _, source = split.partition("_")
        folder = f"{part.upper()}_{source}_img"
    for path in sorted(found(root / folder).glob("*.json")):
        entries = read_json(path)
        if not isinstance(entries, list) or len(entries) != 1:
            raise InputError(f"{path} does not hold exactly one hand")
        entry = entries[0]
        letter = path.stem.rsplit("_", 1)[-1][:1]
        if letter not in ("l", "r"):
            raise InputError(f"{path}: the name says no side; expected ..._l.json or ..._r.json")
        points = array(entry.get("keypoints"), (21, 2), f"{path}: keypoints")
        hidden = array(entry.get("occlusion"), (21,), f"{path}: occlusion") > 0
        yield Sample(
            name=f"{folder}/{path.stem}",
            image=found(path.with_suffix(".jpg")),
            side="left" if letter == "l" else "right",
            box=array(np.ravel(entry.get("bbox") or ())[:4], (4,), f"{path}: bbox"),
            keypoints_2d=np.c_[points, (points >= 0).all(1)],
            visible=~hidden,
        )


DATASETS = (
    Dataset(
        name="hint",
        title="HInt",
        url="https://github.com/ddshan/hint",
        licence="CC BY-NC 4.0 for the annotations; each source's own for its images",
        splits={
            name: None
            for name in (*BENCHMARK, *(f"{p}_{s}" for p in ("train", "val") for s in ("newdays", "epick", "ego4d")))
        },
        read=_read,
    ),
)
