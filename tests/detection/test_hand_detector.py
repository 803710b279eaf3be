"""Hands found, each once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskhand.detection.duplicates import DuplicateConfig, same_hand
from maskhand.detection.hand_detector import DetectorConfig, PalmHandDetector
from maskhand.detection.palm_detector import PalmConfig, weighted_nms
from maskhand.geometry.boxes import box_around
from maskhand.geometry.crop import crop_of_box
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.types import Detection, Keypoints2D


@pytest.fixture(scope="module")
def detector() -> PalmHandDetector:
    return PalmHandDetector(OnnxEngine())


def blind(**changes) -> PalmHandDetector:
    """A detector that sees no palm."""
    return PalmHandDetector(OnnxEngine(), DetectorConfig(palms=PalmConfig(threshold=1.0), **changes))


def moved(hand: Detection, xy: np.ndarray, **changes) -> Detection:
    """The detection with keypoints elsewhere."""
    return replace(hand, keypoints=replace(hand.points, xy=xy.astype(np.float32)), box=box_around(xy), **changes)


def test_both_hands_of_the_demo_picture_are_found_on_the_right_sides(detector, demo_image) -> None:
    hands = sorted(detector.detect(demo_image), key=lambda h: h.box[0])
    assert [h.side for h in hands] == ["right", "left"]
    for hand in hands:
        assert hand.score > 0.9 and hand.points.presence == hand.score
        assert hand.points.source == hand.points.convention == "landmark_network"


def test_an_empty_picture_holds_no_hand(detector) -> None:
    assert detector.detect(np.full((200, 300, 3), 128, np.uint8)) == []


def test_a_small_hand_in_a_large_photo_is_found_by_a_closer_search(detector, demo_image) -> None:
    large = np.full((3000, 4000, 3), 200, np.uint8)
    large[1900:2275, 2700:3200] = demo_image[::2, ::2]
    assert not detector.palms.detect(large) and detector.palms.detect_closer(large)
    assert len(detector.detect(large)) >= 1
    assert PalmHandDetector(OnnxEngine(), DetectorConfig(closer=False)).detect(large) == []


def test_turned_frames_show_palms_from_every_side(detector, demo_image) -> None:
    palms = detector.palms.detect_turned(demo_image)
    assert all((palm.box[2:] > palm.box[:2]).all() for palm in palms)
    for one in detector.palms.detect(demo_image)[:2]:
        distances = [np.linalg.norm(other.points - one.points, axis=1).max() for other in palms]
        assert min(distances) < 0.3 * (one.box[2:] - one.box[:2]).max()
    assert len(detector.detect_turned(demo_image)) >= 2


def test_a_hand_is_found_where_the_first_palm_leads_to_none(detector, demo_image) -> None:
    box = detector.detect(demo_image)[0].box
    tight = crop_of_box(box, mirrored=False, factor=0.7).extract(demo_image, 100)
    first = detector.palms.detect(tight)
    assert first and detector.palms.detect_closer(tight)
    readings = detector.reader.read(tight, [palm.crop(PalmConfig()) for palm in first])
    assert not any(hand.score > DetectorConfig().presence for hand in readings)
    assert len(detector.detect(tight)) == 1


def test_a_hand_that_fills_the_photo_needs_no_palm(detector, demo_image) -> None:
    hand = detector.detect(demo_image)[0]
    filling = crop_of_box(hand.box, mirrored=False, factor=1.1).extract(demo_image, 200)
    assert [found.side for found in blind().detect(filling)] == [hand.side]
    assert blind(whole_photo=1.1).detect(filling) == [], "the whole photo is not read"
    assert blind().detect(np.full((200, 200, 3), 128, np.uint8)) == []
    assert blind().detect(demo_image[:120, :120].copy()) == [], "no hand in that corner"


def test_crops_around_a_fingertip_show_its_hand(detector, demo_image) -> None:
    hand = min(detector.detect(demo_image), key=lambda hand: hand.box[0])
    tip = hand.xy[8]
    around = detector.detect_around(demo_image, np.r_[tip - 60, tip + 60])
    assert any(same_hand(hand, other, DuplicateConfig()) for other in around)


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


def test_overlapping_detections_become_their_weighted_mean() -> None:
    rows = [
        np.array([[0.0, 0], [10, 10], [5, 5]]),
        np.array([[1.0, 0], [11, 10], [6, 5]]),
        np.array([[50.0, 50], [60, 60], [55, 55]]),
    ]
    merged = weighted_nms([(0.9, rows[0]), (0.6, rows[1]), (0.7, rows[2])], 0.3)
    assert len(merged) == 2
    np.testing.assert_allclose(merged[0][1], (0.9 * rows[0] + 0.6 * rows[1]) / 1.5)
    assert merged[0][0] == 0.9


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
