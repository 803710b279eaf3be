"""Real 3D evidence: two calibrated cameras that filmed one hand; depth from triangulation (`stereo_handpose3d`).

The folder holds cam0_test.mp4, cam1_test.mp4, camera_parameters/ and mediapipe_triangulated.npz (X: (frames, 21, 3) in
calibration units, uv: (2, frames, 21, 2) pixels, err: (2, frames, 21) reprojection errors [px]). The joints are those a landmark
network calls joints, triangulated; our hand's lie elsewhere by a few millimetres, which nothing here corrects.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from maskhand.data.photos import video_frames
from maskhand.errors import InputError
from maskhand.evaluation.metrics import aligned_point_error_mm
from maskhand.predictor import Predictor

UNIT_MM = 43.0
"""Length of a calibration unit, from the checkerboard's squares."""
MAX_ERROR_PX = 6.0
"""Frames whose triangulation is off by more than this, in the mean over joints, in either view are left out."""


def stereo_errors(predictor: Predictor, root: str | Path, *, steps: int = 5, every: int = 1) -> dict[str, float]:
    """PA-MPJPE [mm] of the predictor and of the landmark network's own 3D on the same frames, both cameras; reprojection [px].

    Raises:
        InputError: the folder is not there or lacks a file.

    """
    root = Path(root)
    truth_path = root / "mediapipe_triangulated.npz"
    videos = [root / f"cam{k}_test.mp4" for k in (0, 1)]
    for path in (truth_path, *videos):
        if not path.is_file():
            raise InputError(f"{path} does not exist; --root must name the stereo_handpose3d folder")
    with np.load(truth_path) as arrays:
        points, seen, off = arrays["X"], arrays["uv"], arrays["err"]
    ours: dict[str, list[float]] = {k: [] for k in ("pa", "net", "pixel", "net_pixel", "confidence")}
    per_camera: list[tuple[float, float]] = []
    for camera, video in enumerate(videos):
        first = len(ours["pa"])
        for frame, image in enumerate(video_frames(video)):
            if frame >= len(points) or frame % every:
                continue
            if not np.isfinite(points[frame]).all() or off[:, frame].mean(1).max() > MAX_ERROR_PX:
                continue
            found = predictor.provider.find(image)
            hands = predictor(image, steps=steps)
            if not hands:
                continue
            target = torch.from_numpy(points[frame] * UNIT_MM / 1000)
            nearest = min(range(len(hands)), key=lambda k: float(np.abs(hands[k].keypoints - seen[camera, frame]).mean()))
            hand = hands[nearest]
            guess = min(found, key=lambda f: float(np.abs(f.keypoints[:, :2] - hand.keypoints).mean()))
            ours["pa"].append(aligned_point_error_mm(torch.from_numpy(hand.joints).double(), target.double()).item())
            ours["net"].append(aligned_point_error_mm(torch.from_numpy(guess.world).double(), target.double()).item())
            ours["pixel"].append(float(np.linalg.norm(hand.keypoints - seen[camera, frame], axis=1).mean()))
            ours["net_pixel"].append(float(np.linalg.norm(guess.keypoints[:, :2] - seen[camera, frame], axis=1).mean()))
            ours["confidence"].append(hand.confidence)
        per_camera.append((float(np.mean(ours["pa"][first:])), float(np.mean(ours["net"][first:]))))
    return {
        "pa_mpjpe_mm": float(np.mean(ours["pa"])),
        "landmark_network_pa_mpjpe_mm": float(np.mean(ours["net"])),
        "pa_mpjpe_mm_camera0": per_camera[0][0],
        "pa_mpjpe_mm_camera1": per_camera[1][0],
        "landmark_network_pa_mpjpe_mm_camera0": per_camera[0][1],
        "landmark_network_pa_mpjpe_mm_camera1": per_camera[1][1],
        "reprojection_px": float(np.mean(ours["pixel"])),
        "landmark_network_reprojection_px": float(np.mean(ours["net_pixel"])),
        "frames": len(ours["pa"]),
    }
