"""Crops laid anew, keypoints in crops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskhand import load
from maskhand.geometry.boxes import box_around
from maskhand.geometry.crop import CropConfig, crop_around
from maskhand.inference.candidates import Candidate
from maskhand.inference.crop_reading import CropReader, RecropConfig
from maskhand.io.photos import read_photo
from maskhand.types import Detection


def elsewhere(hand: Detection, xy: np.ndarray) -> Detection:
    return replace(hand, keypoints=replace(hand.points, xy=xy.astype(np.float32)), box=box_around(xy))


def candidate_of(hand: Detection, config: CropConfig = CropConfig()) -> Candidate:
    return Candidate(hand, crop_around(hand.xy, mirrored=hand.side == "left", config=config))


def test_axis_aligned_crops_take_the_keypoints_of_the_detection(predictor, demo_image) -> None:
    hands, images = predictor.detector.detect(demo_image), [demo_image] * 2
    boxes = CropConfig(upright=False)
    upright = CropReader(predictor.engine, CropConfig()).read(images, [candidate_of(hand) for hand in hands])
    plain = CropReader(predictor.engine, boxes).read(images, [candidate_of(hand, boxes) for hand in hands])
    for k, hand in enumerate(hands):
        one, other = upright.crops[k], plain.crops[k]
        np.testing.assert_allclose(other.to_photo(plain.keypoints.xy[k]), hand.xy, atol=0.05)
        distance = np.linalg.norm(one.to_photo(upright.keypoints.xy[k]) - hand.xy, axis=1)
        assert distance.mean() < 0.05 * one.side
        depths = upright.keypoints.depth[k] * one.side, plain.keypoints.depth[k] * other.side
        assert np.abs(depths[0] - depths[1]).mean() < 0.1 * one.side, "depth in one unit"


def test_a_wrong_first_guess_is_read_again(predictor, demo_image) -> None:
    hand = min(predictor.detector.detect(demo_image), key=lambda hand: hand.box[0])
    (right,) = predictor.from_detections(read_photo(demo_image), [hand])
    middle = hand.xy.mean(0)
    turn = np.array([[np.cos(0.6), np.sin(0.6)], [-np.sin(0.6), np.cos(0.6)]])
    guess = elsewhere(hand, middle + 1.35 * (hand.xy - middle) @ turn)
    distances = []
    for rounds in (0, 3):
        (found,) = load(settings=[f"recrop.rounds={rounds}"]).from_detections(read_photo(demo_image), [guess])
        distances.append(np.abs(found.keypoints - right.keypoints).mean())
    assert distances[1] < 0.8 * distances[0]


def test_a_crop_that_cuts_the_hand_is_laid_anew_until_it_shows_it(predictor, demo_image) -> None:
    hand = min(predictor.detector.detect(demo_image), key=lambda hand: hand.box[0])
    middle = hand.xy.mean(0)
    small = candidate_of(elsewhere(hand, middle + 0.5 * (hand.xy - middle)))
    distances = []
    for rounds in (1, 3):
        reader = CropReader(predictor.engine, CropConfig(), RecropConfig(rounds=rounds))
        readings = reader.read_settled([demo_image], [small])
        distances.append(np.abs(readings.crops[0].to_photo(readings.keypoints.xy[0]) - hand.xy).mean())
    assert distances[1] < 0.7 * distances[0]


def test_features_of_recropped_hands_are_those_of_their_new_crops(predictor, demo_image) -> None:
    hands = predictor.detector.detect(demo_image)
    first = elsewhere(hands[0], hands[0].xy + 30)
    reader = CropReader(predictor.engine, CropConfig())
    settled = reader.read_settled([demo_image] * 2, [candidate_of(first), candidate_of(hands[1])])
    alone = reader.read([demo_image], [candidate_of(first)], settled.crops[:1])
    np.testing.assert_allclose(settled.features[:1], alone.features, atol=1e-4, rtol=1e-4)
