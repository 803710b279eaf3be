"""Monocular Total Capture (Xiang et al., CVPR 2019), its hands: mtc_dataset.tar.gz, folder a4_release.

annotation.pkl     {training_data, testing_data}: lists of {seqName, frame_str, left_hand and right_hand (where
annotated):
                   {landmarks: 63 numbers [cm], 2D: {camera: {insideImg 21, occluded 21, overlap}}}}
camera_data.pkl    seqName -> camera -> {K (3, 3), R (3, 3), t (3, 1) [cm], distCoef 5}
hdImgs/{seqName}/{frame_str}/00_{camera:02d}_{frame_str}.jpg

World to camera: R X + t; OpenPose's joint order. Images are not undistorted: the 2D keypoints carry OpenCV's
distortion. Views in which a joint is hidden, outside or overlapped by the other hand are left out, as the authors' own
loader does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskhand.data.datasets.source import Dataset, array, found, labelled_points, read_pickle, with_confidence
from maskhand.data.sample import Sample
from maskhand.errors import InputError
from maskhand.types import Side

_SIDES: tuple[Side, ...] = ("right", "left")


def _read(root: Path, split: str) -> Iterator[Sample]:
    annotation, cameras = (read_pickle(root / name) for name in ("annotation.pkl", "camera_data.pkl"))
    key = f"{split}_data"
    if key not in annotation:
        raise InputError(f"{root / 'annotation.pkl'} has no {key}")
    for entry in annotation[key]:
        for side in _SIDES:
            hand = entry.get(f"{side}_hand")
            if hand is None:
                continue
            where = f"{entry['seqName']}/{entry['frame_str']}"
            points = array(hand["landmarks"], (21, 3), f"{where} {side}: landmarks") / 100
            for camera, view in sorted(hand["2D"].items()):
                if any(view["occluded"]) or not all(view["insideImg"]) or view.get("overlap"):
                    continue
                try:
                    seen = cameras[entry["seqName"]][camera]
                except KeyError:
                    raise InputError(f"camera_data.pkl has no camera {camera} of {entry['seqName']}") from None
                name = f"{where}/00_{int(camera):02d}_{entry['frame_str']}"
                yield Sample(
                    name=f"{name}/{side}",
                    image=found(root / "hdImgs" / f"{name}.jpg"),
                    side=side,
                    **_labels(points, seen),
                )


def _labels(points: np.ndarray, camera: dict[str, Any]) -> dict[str, np.ndarray]:
    intrinsic = np.asarray(camera["K"], float)
    in_camera = points @ np.asarray(camera["R"], float).T + np.asarray(camera["t"], float).reshape(3) / 100
    labels = labelled_points(in_camera, intrinsic)
    flat, _ = cv2.projectPoints(
        in_camera, np.zeros(3), np.zeros(3), intrinsic, np.asarray(camera["distCoef"], float).ravel()
    )
    labels["keypoints_2d"] = with_confidence(flat[:, 0])
    return labels


DATASETS = (
    Dataset(
        name="mtc",
        title="Monocular Total Capture",
        url="http://domedb.perception.cs.cmu.edu/mtc.html",
        licence="research only, no commercial use",
        splits={"training": None, "testing": None},
        read=_read,
    ),
)
