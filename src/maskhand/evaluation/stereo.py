"""Real 3D evidence: two calibrated cameras that filmed one hand; depth from triangulation (`stereo_handpose3d`).

The folder holds cam0_test.mp4, cam1_test.mp4, camera_parameters/ (c0.dat, rot_trans_c0.dat, ...) and
mediapipe_triangulated.npz (X: (frames, 21, 3) in calibration units, err: (2, frames, 21) reprojection errors [px]). The
joints are what MediaPipe's landmark network calls joints, triangulated; our hand's lie elsewhere by a few millimetres.
The figures are given for both: our keypoints as they are, and the places on our hand that the network means
(`landmark_positions`). The network's own 2D is the source of the truth, so its reprojection error is small by
construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maskhand.config import DEFAULT_STEPS
from maskhand.data.photos import video_frames
from maskhand.errors import InputError
from maskhand.evaluation.metrics import aligned_point_error_mm
from maskhand.io.photos import read_photo
from maskhand.predictor import Predictor

UNIT_MM = 43.0
"""Length of a calibration unit."""
MAX_ERROR_PX = 6.0
"""Frames whose triangulation is off by more than this, in the mean over joints, in either view are left out."""


@dataclass(frozen=True)
class Camera:
    """A calibrated camera: x = K (R X + t)."""

    intrinsic: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def read(cls, folder: Path, index: int) -> Camera:
        """From c{index}.dat and rot_trans_c{index}.dat: a heading, then a row of numbers a line."""
        rows = [_numbers(folder / name) for name in (f"c{index}.dat", f"rot_trans_c{index}.dat")]
        return cls(np.array(rows[0][:3]), np.array(rows[1][:3]), np.array(rows[1][3:6]).reshape(3))

    def project(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) calibration units to (n, 2) pixels, lens distortion left aside."""
        seen = (points @ self.rotation.T + self.translation) @ self.intrinsic.T
        return seen[:, :2] / seen[:, 2:]


def _numbers(path: Path) -> list[list[float]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; --root must name the stereo_handpose3d folder")
    rows = []
    for line in path.read_text().splitlines():
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            continue  # a heading
        if values:
            rows.append(values)
    return rows


def stereo_errors(
    predictor: Predictor, root: str | Path, *, steps: int = DEFAULT_STEPS, every: int = 1
) -> dict[str, float | None]:
    """PA-MPJPE [mm] of the predictor and of the landmark network's own 3D on the same frames; reprojection [px].

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
        points, off = arrays["X"], arrays["err"]
    usable = np.isfinite(points).all((1, 2)) & (np.nan_to_num(off, nan=np.inf).mean(2).max(0) < MAX_ERROR_PX)
    usable &= np.arange(len(points)) % every == 0
    columns: dict[str, list[float]] = {}
    tokens: set[int] = set()
    for index, video in enumerate(videos):
        camera = Camera.read(root / "camera_parameters", index)
        for frame, image in enumerate(video_frames(video)):
            if frame >= len(points) or not usable[frame]:
                continue
            values = _frame_errors(predictor, image, points[frame], camera, steps, tokens)
            for key, value in values.items():
                columns.setdefault(key, []).append(value)
                if key.endswith("_mm"):
                    columns.setdefault(f"{key}_camera{index}", []).append(value)
    if not columns:
        raise InputError(f"no hand was found in any usable frame of {root}")
    result: dict[str, float | None] = {key: float(np.mean(values)) for key, values in columns.items()}
    result["pa_mpvpe_mm"] = None  # nobody measured the hand's surface
    result["codes_used"] = len(tokens) / len(predictor.engine.codes)
    return {**result, "frames": float(len(columns["pa_mpjpe_mm"])), "usable_frames": float(2 * usable.sum())}


def _frame_errors(
    predictor: Predictor, image: np.ndarray, truth: np.ndarray, camera: Camera, steps: int, tokens: set[int]
) -> dict[str, float]:
    """Errors of the hand nearest to the truth in the image, its tokens added to `tokens`; nothing if none is found."""
    target = camera.project(truth)
    detections = predictor.detector.detect(image)
    if not detections:
        return {}
    detection = min(detections, key=lambda hand: float(np.abs(hand.xy - target).mean()))
    photo = read_photo(image, focal_px=float(camera.intrinsic[0, 0]))
    hand = predictor.from_detections(photo, [detection], steps=steps)[0]
    tokens.update(hand.trace.tokens.tolist())
    metric = torch.from_numpy(truth * UNIT_MM / 1000).double()

    def aligned(points: np.ndarray) -> float:
        return aligned_point_error_mm(torch.from_numpy(np.asarray(points)).double(), metric).item()

    def pixels(points: np.ndarray) -> float:
        return float(np.linalg.norm(points - target, axis=1).mean())

    return {
        "pa_mpjpe_mm": aligned(hand.joints),
        "landmarks_pa_mpjpe_mm": aligned(hand.trace.landmarks),
        "landmark_network_pa_mpjpe_mm": aligned(detection.relief),
        "landmark_network_metric_pa_mpjpe_mm": aligned(
            detection.relief if detection.world is None else detection.world
        ),
        "reprojection_px": pixels(hand.keypoints),
        "landmarks_reprojection_px": pixels(_in_image(hand.trace.landmarks, hand.focal_px, image)),
        "landmark_network_reprojection_px": pixels(detection.xy),
    }


def _in_image(points: np.ndarray, focal_px: float, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return focal_px * points[:, :2] / points[:, 2:] + (width / 2, height / 2)
