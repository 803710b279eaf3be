"""One code for NumPy and PyTorch: the same numbers from both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from maskhand.fitting.keypoint_fit import fit_keypoints
from maskhand.fitting.view_fit import fit_view
from maskhand.geometry import camera, rotations
from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.arrays import Constant, like, to_numpy
from maskhand.hand_model.collision import penetration_depths
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.hand_model.layer import HandModel, mirror_pose
from maskhand.keypoints.fusion import fuse_keypoints, keypoint_disagreement
from maskhand.model.unmasking import Sampling, unmask
from maskhand.runtime.spread import pose_spread, spread_numbers
from maskhand.types import Keypoints2D

MODEL = HandModel(free_hand_data())


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


TURNS = rotations.matrix_from_axis_angle(0.4 * numbers(3, 16, 3))
SHAPE, PLACE = 0.5 * numbers(3, 10), np.array([0.0, 0.0, 0.6]) + 0.02 * numbers(3, 3)
POINTS, KNOWN = 0.3 * numbers(3, 21, 2), np.clip(numbers(3, 21) ** 2, 0.1, 1)
PROBABILITIES = rotations.normalised(np.abs(numbers(2, 16, 32))) ** 2
CODES = numbers(32, 4)


def keypoints(xy: Any, confidence: Any) -> Keypoints2D:
    return Keypoints2D(xy, confidence, xy[..., 0], confidence[:, 0], "landmark_network", "heatmaps")


def unmasked(probabilities: Any, codes: Any, **how: Any) -> list[Any]:
    sampling = Sampling(**how)
    found = unmask(
        lambda embedding, mask: probabilities + 0 * embedding[..., :1],
        lambda p: p @ codes,
        codes,
        batch=2,
        length=16,
        steps=3,
        sampling=sampling,
        uniform=spread_numbers(16),
    )
    return [found.tokens, found.confidence, found.code, found.others, found.by_round]


CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "6D": (rotations.matrix_from_6d, (numbers(5, 6),)),
    "axis-angle": (rotations.axis_angle_from_matrix, (TURNS,)),
    "nearest rotation": (rotations.nearest_rotation, (TURNS + 0.1 * numbers(3, 16, 3, 3),)),
    "mirror": (mirror_pose, (TURNS,)),
    "alignment": (align_similarity, (numbers(4, 21, 3), numbers(4, 21, 3, seed=1))),
    "camera": (
        lambda p, t: camera.project_in_crop(p, camera.translation_from_weak(camera.weak_from_translation(t))),
        (0.1 * numbers(3, 21, 3), PLACE),
    ),
    "ray": (camera.turn_to_ray, (300 * numbers(4, 2), 900 + 0 * numbers(4, 1), 200 * numbers(4, 2, seed=2))),
    "hand model": (lambda p, s: MODEL(p, s).vertices, (TURNS, SHAPE)),
    "landmarks": (lambda p, s: landmark_positions(MODEL, p, s), (TURNS, SHAPE)),
    "collision": (penetration_depths, (0.05 * numbers(3, 21, 3),)),
    "fusion": (
        lambda *a: fuse_keypoints(keypoints(*a[:2]), keypoints(*a[2:])).xy,
        (POINTS, KNOWN, POINTS + 0.02 * numbers(3, 21, 2, seed=3), KNOWN[::-1].copy()),
    ),
    "disagreement": (keypoint_disagreement, (POINTS, POINTS[::-1].copy())),
    "fit": (
        lambda p, s, t, xy, w: fit_keypoints(MODEL, p, s, t, xy, w, focal=3.0, depth=xy[..., 1], spread=0.01 * w),
        (TURNS, SHAPE, PLACE, POINTS, KNOWN),
    ),
    "view": (
        lambda p, xy, w, f, c: fit_view(p, xy, w, f, c, pixel_sigma=2.0),
        (0.05 * numbers(21, 3), 50 * numbers(21, 2), KNOWN[0], np.array([900.0]), np.zeros(2)),
    ),
    "spread": (
        lambda o, p, s: pose_spread(MODEL, o, p, s),
        (TURNS[:2].repeat(3, 0).reshape(2, 3, 16, 3, 3), TURNS[:2], SHAPE[:2]),
    ),
    "unmasking": (unmasked, (PROBABILITIES, CODES)),
    "drawing": (lambda p, c: unmasked(p, c, temperature=1.5, top_k=7), (PROBABILITIES, CODES)),
}


@pytest.mark.parametrize("name", CASES)
def test_numpy_and_torch_give_the_same(name: str) -> None:
    function, arguments = CASES[name]
    ours, theirs = function(*arguments), function(*(torch.from_numpy(a) for a in arguments))
    if not isinstance(ours, (tuple, list)):
        ours, theirs = [ours], [theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, np.ndarray) and isinstance(other, torch.Tensor)
        np.testing.assert_allclose(one, to_numpy(other), atol=1e-9, rtol=1e-7)


def test_a_constant_is_made_once_per_kind_and_type() -> None:
    constant = Constant([[1.0, 2.0]])
    single, double, tensor = constant.on(np.zeros(1, np.float32)), constant.on(np.zeros(1)), constant.on(torch.zeros(1))
    assert (single.dtype, double.dtype, tensor.dtype) == (np.float32, np.float64, torch.float32)
    assert constant.on(torch.ones(2)) is tensor and constant.on(np.ones(2)) is double
    places = Constant([1, 0], integers=True)
    assert places.on(np.zeros(1, np.float32)).dtype == np.int64 and places.on(torch.zeros(1)).dtype == torch.int64


def test_a_constant_made_while_predicting_can_be_trained_through() -> None:
    constant = Constant([2.0])
    with torch.inference_mode():
        constant.on(torch.zeros(1))
    weight = torch.ones(1, requires_grad=True)
    (weight * constant.on(weight)).sum().backward()
    assert weight.grad is not None and weight.grad.item() == 2.0


def test_like_takes_over_kind_and_type() -> None:
    assert like([1, 2], np.zeros(1, np.float32)).dtype == np.float32
    assert like([1, 2], torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
