"""Where the landmark network puts its points about our hand's keypoints: `LANDMARK_OFFSETS_MM` of
hand_model/joint_conventions.py.

    python scripts/measure_landmark_offsets.py cache/synthetic

On synthetic images our keypoints are known. For each point, the offset in the axes of the joint that carries it which
best explains the network's 2D residuals, over hands it reads well (median error under 3 % of the crop) and points that
are visible and not off by more than 6 %. Weak perspective, which is enough for millimetres.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import complete_shards
from maskhand.hand_model.layer import global_rotations
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS, KEYPOINTS

WELL_READ, OUTLIER = 0.06, 0.12
"""Crop from -1 to 1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", help="folder of `maskhand data cache synthetic`")
    rows = CachedSamples(complete_shards(parser.parse_args().cache)).small
    turned = global_rotations(torch.from_numpy(rows["pose"])).numpy()[:, list(KEYPOINT_CARRIERS)]  # (N, 21, 3, 3)
    solid = rows["keypoints_3d"][..., :2] - rows["keypoints_3d"][..., :2].mean(1, keepdims=True)
    flat = rows["keypoints_2d"] - rows["keypoints_2d"].mean(1, keepdims=True)
    scale = (solid * flat).sum((1, 2)) / np.square(solid).sum((1, 2))  # metres to the crop's unit
    residual = rows["points"][..., :2] - rows["keypoints_2d"]
    error = np.linalg.norm(residual, axis=-1)
    used = rows["visible"] & (error < OUTLIER) & (np.median(error, 1) < WELL_READ)[:, None]
    for k, name in enumerate(KEYPOINTS):
        chosen = used[:, k]
        design = (turned[chosen, k][:, :2] * scale[chosen, None, None]).reshape(-1, 3)
        offset = np.linalg.lstsq(design, residual[chosen, k].reshape(-1), rcond=None)[0]
        left = np.abs(residual[chosen, k].reshape(-1) - design @ offset).mean() / np.abs(residual[chosen, k]).mean()
        millimetres = tuple(round(float(1000 * x), 1) for x in offset)
        print(f"    {millimetres},  # {name}: {left:.0%} of the error left, {chosen.sum()} hands")


if __name__ == "__main__":
    main()
