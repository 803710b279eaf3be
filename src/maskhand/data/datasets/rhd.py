"""Rendered Hand Pose (Zimmermann and Brox, ICCV 2017), RHD_published_v2.

{training,evaluation}/color/{:05d}.png            320x320 {training,evaluation}/anno_{split}.pickle         {index: {xyz
(42, 3) [m], uv_vis (42, 3): u, v [px], visible; K (3, 3)}}

Joints 0-20 are the left hand's, 21-41 the right's: the wrist, then each finger from thumb to little, tip first. Camera
frame. One sample per hand of which at least `MIN_VISIBLE` keypoints are visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maskhand.data.datasets.source import Dataset, array, found, labelled_points, read_pickle, with_confidence
from maskhand.data.sample import TIP_FIRST, Sample, to_keypoints
from maskhand.types import Side

MIN_VISIBLE = 5
_SIDES: tuple[Side, ...] = ("left", "right")


def _read(root: Path, split: str) -> Iterator[Sample]:
    path = root / split / f"anno_{split}.pickle"
    for index, entry in sorted(read_pickle(path).items()):
        what = f"{path} entry {index}"
        points, flat = (array(entry[key], (42, 3), f"{what}: {key}") for key in ("xyz", "uv_vis"))
        for k, side in enumerate(_SIDES):
            own = slice(21 * k, 21 * k + 21)
            seen = to_keypoints(flat[own], TIP_FIRST)
            if (seen[:, 2] > 0).sum() < MIN_VISIBLE:
                continue
            labels = labelled_points(to_keypoints(points[own], TIP_FIRST), array(entry["K"], (3, 3), f"{what}: K"))
            labels["keypoints_2d"] = with_confidence(seen[:, :2])
            yield Sample(
                name=f"{split}/{index:05d}/{side}",
                image=found(root / split / "color" / f"{index:05d}.png"),
                side=side,
                visible=seen[:, 2] > 0,
                **labels,
            )


DATASETS = (
    Dataset(
        name="rhd",
        title="Rendered Hand Pose",
        url="https://lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html",
        licence="research only, no commercial use",
        splits={"training": 41_258, "evaluation": 2_728},
        read=_read,
    ),
)
