"""FreiHAND (Zimmermann et al., ICCV 2019), as unpacked from FreiHAND_pub_v2.zip and FreiHAND_pub_v2_eval.zip.

training/rgb/{:08d}.jpg       130,240 images: 32,560 poses, each on four backgrounds; labels repeat every 32,560
evaluation/rgb/{:08d}.jpg     3,960 images {split}_K.json                [N][3][3] intrinsics {split}_xyz.json
[N][21][3] keypoints [m], camera frame, OpenPose's order {split}_verts.json            [N][778][3] MANO vertices [m]
{split}_mano.json             [N][1][61]: pose 48 (axis angles, MANO's mean pose not added), shape 10, uv of the root 2,
scale 1

Right hands only. The evaluation's xyz, verts and mano came with the second archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maskhand.data.datasets.source import Dataset, array, found, labelled_points, read_json, same_length
from maskhand.data.sample import Sample

POSES = 32_560


def _read(root: Path, split: str) -> Iterator[Sample]:
    intrinsics, points, vertices = (read_json(root / f"{split}_{what}.json") for what in ("K", "xyz", "verts"))
    count = same_length(K=intrinsics, xyz=points, verts=vertices)
    mano_path = root / f"{split}_mano.json"
    mano = read_json(mano_path) if mano_path.exists() else None
    if mano is not None:
        same_length(xyz=points, mano=mano)
    found(root / split / "rgb")
    for index in range(count):
        for version in range(4 if split == "training" else 1):
            name = f"{index + version * (POSES if count == POSES else count):08d}"
            image = root / split / "rgb" / f"{name}.jpg"
            if version and not image.exists():
                continue  # a copy with the first version's images only
            values = None if mano is None else array(mano[index], (61,), f"{mano_path} entry {index}")
            yield Sample(
                name=f"{split}/{name}",
                image=found(image),
                side="right",
                vertices=array(vertices[index], (-1, 3), f"{split}_verts.json entry {index}"),
                mano_pose=None if values is None else values[:48],
                mano_shape=None if values is None else values[48:58],
                **labelled_points(
                    array(points[index], (21, 3), f"{split}_xyz.json entry {index}"),
                    array(intrinsics[index], (3, 3), f"{split}_K.json entry {index}"),
                ),
            )


DATASETS = (
    Dataset(
        name="freihand",
        title="FreiHAND",
        url="https://lmb.informatik.uni-freiburg.de/projects/freihand/",
        licence="research only, no commercial use",
        splits={"training": 130_240, "evaluation": 3_960},
        read=_read,
    ),
)
