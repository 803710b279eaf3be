"""Scenes of known hands, and how their files are written."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskhand.rendering.rasteriser import rasterise
from maskhand.synthesis.pose_prior import PosePrior

SIZE = (320, 240)
INTRINSIC = np.array([[310.0, 0, 158.0], [0, 305.0, 121.0], [0, 0, 1.0]])
OPENGL = np.array([1.0, -1.0, -1.0])


@dataclass
class Scene:
    """One drawn hand and its truth: our axes, OpenPose's order, metres."""

    side: str
    image: np.ndarray
    mask: np.ndarray
    points: np.ndarray
    vertices: np.ndarray
    pose: np.ndarray
    shape: np.ndarray

    @property
    def flat(self) -> np.ndarray:
        seen = self.points @ INTRINSIC.T
        return seen[:, :2] / seen[:, 2:]

    @property
    def box(self) -> np.ndarray:
        return np.concatenate([self.flat.min(0), self.flat.max(0)])

    def jpeg(self) -> bytes:
        return cv2.imencode(".jpg", self.image[:, :, ::-1])[1].tobytes()


def draw_scenes(hand_model, count: int, sides: tuple[str, ...], seed: int = 5) -> list[Scene]:
    rng = np.random.default_rng(seed)
    pose = PosePrior(hand_model).sample(count, rng)
    towards = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float)  # palm to the camera, fingers up
    import torch

    pose[:, 0] = torch.stack(
        [torch.as_tensor(cv2.Rodrigues(rng.normal(0, 0.5, 3))[0] @ towards, dtype=torch.float32) for _ in range(count)]
    )
    shape = torch.as_tensor(rng.normal(0, 0.5, (count, 10)), dtype=torch.float32)
    mesh = hand_model(pose, shape)
    kept = np.linspace(0, mesh.vertices.shape[1] - 1, 778).astype(int)
    scenes = []
    for k in range(count):
        side = sides[k % len(sides)]
        flip = np.array([-1.0 if side == "left" else 1.0, 1, 1])
        centre = mesh.keypoints[k].numpy().mean(0)
        at = np.array([rng.normal(0, 0.02), rng.normal(0, 0.02), 0.5])
        points = (mesh.keypoints[k].numpy().astype(float) - centre) * flip + at
        vertices = (mesh.vertices[k].numpy().astype(float) - centre) * flip + at
        seen = vertices @ INTRINSIC.T
        pixels = np.c_[seen[:, :2] / seen[:, 2:], vertices[:, 2]].astype(np.float32)
        faces = hand_model.faces.astype(np.int32)
        drawn = rasterise(pixels, faces, vertices.astype(np.float32), SIZE[::-1])
        mask = np.asarray(drawn.face) >= 0
        image = np.full((SIZE[1], SIZE[0], 3), (40, 90, 60), np.uint8)
        image[mask] = (220, 170, 140)
        scenes.append(
            Scene(side, image, mask, points, vertices[kept], rng.normal(0, 0.3, 48), shape[k].numpy().astype(float))
        )
    return scenes


def ordered(points: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return points[list(order)]


def save_image(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), scene.image[:, :, ::-1])


def save_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def save_pickle(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
