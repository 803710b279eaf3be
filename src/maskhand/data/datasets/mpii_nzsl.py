"""MPII + NZSL hands (Simon et al., CVPR 2017): hand_labels.zip, manual annotations.

manual_{train,test}/{name}.jpg, {name}.json: {hand_pts [21][3]: x, y [px], known; is_left: 0 or 1; hand_box_center}

OpenPose's joint order, 2D only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, read_json
from maskhand.data.sample import Sample


def _read(root: Path, split: str) -> Iterator[Sample]:
    for path in sorted(found(root / f"manual_{split}").glob("*.json")):
        entry = read_json(path)
        points = array(entry.get("hand_pts"), (21, 3), f"{path}: hand_pts")
        yield Sample(
            name=f"manual_{split}/{path.stem}",
            image=found(path.with_suffix(".jpg")),
            side="left" if entry["is_left"] else "right",
            keypoints_2d=np.c_[points[:, :2], points[:, 2] > 0],
        )


DATASETS = (
    Dataset(
        name="mpii-nzsl",
        title="MPII + NZSL hands",
        url="http://domedb.perception.cs.cmu.edu/handdb.html",
        licence="research only, no commercial use",
        splits={"train": 1_912, "test": 846},
        read=_read,
    ),
)
