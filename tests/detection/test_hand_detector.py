"""Hands found, each once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskhand.detection.duplicates import DuplicateConfig, same_hand
from maskhand.detection.hand_detector import HandDetector
from maskhand.geometry.boxes import box_around
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.types import Detection, Keypoints2D


@pytest.fixture(scope="module")
def detector() -> HandDetector:
    return HandDetector(OnnxEngine())


def moved(hand: Detection, xy: np.ndarray, **changes) -> Detection:
    """The detection with keypoints elsewhere."""
    return replace(hand, keypoints=replace(hand.points, xy=xy.astype(np.float32)), box=box_around(xy), **changes)


def test_both_hands_of_the_demo_picture_are_found_on_the_right_sides(detector, demo_image) -> None:
    hands = sorted(detector.detect(demo_image), key=lambda h: h.box[0])
    assert [h.side for h in hands] == ["right", "left"]
    for hand in hands:
        assert hand.score > 0.5 and hand.points.presence > 0.9 and hand.crop is None
        assert hand.points.source == hand.points.convention == "landmark_network"


def test_an_empty_picture_holds_no_hand(detector) -> None:
    assert detector.detect(np.full((200, 300, 3), 128, np.uint8)) == []


def test_mirroring_the_photo_mirrors_hands_and_sides(detector, demo_image) -> None:
    hands = sorted(detector.detect(demo_image), key=lambda h: h.box[0])
    mirrored = sorted(detector.detect(np.ascontiguousarray(demo_image[:, ::-1])), key=lambda h: -h.box[0])
    width = demo_image.shape[1]
    for hand, other in zip(hands, mirrored, strict=True):
        assert {hand.side, other.side} == {"left", "right"}
        assert np.linalg.norm(other.xy * [-1, 1] + [width, 0] - hand.xy, axis=1).mean() < 0.05 * np.ptp(hand.box)


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
def test_a_small_detection_on_a_hand_is_part_of_it(place, size, right, score, same) -> None:
    shape = np.random.default_rng(0).random((21, 2))
    shape = (shape - shape.min(0)) / np.ptp(shape, axis=0)

    def detection(side: float, at: tuple[int, int], right: float, score: float) -> Detection:
        xy = shape * side + at
        return Detection(box_around(xy), score, right, Keypoints2D.of_user(xy))

    hand, other = detection(100, (0, 0), 1.0, 1.0), detection(size, place, right, score)
    for one, two in ((hand, other), (other, hand)):
        assert same_hand(one, two, DuplicateConfig()) is same


def test_detections_without_keypoints_are_told_apart_by_their_boxes() -> None:
    one = Detection(np.array([0.0, 0, 100, 100]), 0.9, 1.0)
    assert same_hand(one, replace(one, box=one.box + 5), DuplicateConfig())
    assert not same_hand(one, replace(one, box=one.box + 90), DuplicateConfig())


def test_an_unsure_side_is_read_off_the_mirrored_picture_too(detector, demo_image) -> None:
    mirrored = np.ascontiguousarray(demo_image[:, ::-1])
    for hand in detector.detect(demo_image):
        unsure = detector.reader.with_handedness(demo_image, replace(hand, right=0.5))
        assert unsure.side == hand.side
        flipped = moved(hand, hand.xy * (-1, 1) + (demo_image.shape[1], 0), right=0.5)
        other = detector.reader.with_handedness(mirrored, flipped)
        assert abs(unsure.right + other.right - 1) < 0.01  # both crops, whichever way round
        sure = replace(hand, right=0.99)
        assert detector.reader.with_handedness(demo_image, sure) is sure, "a sure side is left alone"


def test_where_the_landmark_network_sees_no_hand_the_crop_is_the_box(detector) -> None:
    box = np.array([40.0, 30, 140, 90])
    read = detector.reader.read_box(np.full((200, 300, 3), 128, np.uint8), box)
    assert read.score < 0.5 and read.crop is not None and (read.box == box).all()
    assert np.abs(np.array(read.crop.centre) - (90, 60)).max() < 1 and 100 < read.crop.side < 160


def test_a_reading_of_another_hand_is_none_of_the_box(detector, demo_image) -> None:
    hand = detector.detect(demo_image)[0]
    x1, y1, x2, y2 = hand.box
    beside = np.array([x1, y1, x1 + 0.3 * (x2 - x1), y1 + 0.3 * (y2 - y1)])  # a corner of it
    assert not detector.reader.config.fits(hand.xy, [beside], 0)
    assert detector.reader.config.fits(hand.xy, [hand.box], 0)
    assert detector.reader.read_box(demo_image, beside).crop is not None


def test_a_weaker_box_around_hand_and_arm_changes_nothing(detector, demo_image, monkeypatch) -> None:
    before = detector.detect(demo_image)
    found = detector.boxes.find(demo_image)
    arms = [replace(hand, box=hand.box + np.array([0, 0, 0, 150]), score=0.36) for hand in found]
    monkeypatch.setattr(detector.boxes, "find", lambda image: [*found, *arms])
    after = detector.detect(demo_image)
    assert len(after) == len(before) == 2
    for hand, own in zip(after, before, strict=True):
        np.testing.assert_array_equal(hand.box, own.box)
