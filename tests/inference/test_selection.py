"""Which readings are hands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from maskhand import load
from maskhand.geometry.boxes import box_around
from maskhand.geometry.crop import crop_around
from maskhand.inference.candidates import Candidate, Reading, candidates_of
from maskhand.inference.selection import SelectionConfig, select
from maskhand.types import Detection, Keypoints2D, Prediction

SHAPE = np.random.default_rng(3).random((21, 2))


def detection(at: float, *, size: float = 100.0, score: float = 0.95, right: float = 1.0) -> Detection:
    xy = (SHAPE - SHAPE.min(0)) / np.ptp(SHAPE, axis=0) * size + at
    return Detection(box_around(xy), score, right, Keypoints2D.of_user(xy))


def reading(
    hand: Detection,
    *,
    confidence: float = 0.7,
    disagreement: float = 0.02,
    side: str = "right",
    error: float = 0.05,
) -> Reading:
    empty = torch.zeros(1, 21)
    keypoints = Keypoints2D(torch.zeros(1, 21, 2), empty, empty, torch.zeros(1), "landmark_network", "fused")
    prediction = Prediction(
        torch.eye(3).expand(1, 16, 3, 3), torch.zeros(1, 10), torch.zeros(1, 3), keypoints, torch.zeros(1, 64),
        torch.zeros(1, 64), empty, empty, torch.tensor([disagreement]),
    )  # fmt: skip
    candidate = Candidate(hand, crop_around(hand.xy, mirrored=side == "left"))
    return Reading(candidate, prediction, np.full(21, confidence, np.float32), error)


def selected(*readings: Reading, **changes) -> list[Reading]:
    return select(readings, replace(SelectionConfig(), **changes))


def test_the_surest_hands_come_first_and_each_once() -> None:
    one, again, other = (
        reading(detection(0)),
        reading(detection(3), confidence=0.6),
        reading(detection(300), confidence=0.8),
    )
    assert selected(one, again, other) == [other, one]


def test_of_two_sides_of_a_detection_the_likelier_counts() -> None:
    hand = detection(0, right=0.6)
    as_right, as_left = reading(hand, error=0.2), reading(hand, side="left", error=0.1)
    assert selected(as_right, as_left) == [as_left], "it lies nearer to its keypoints"
    near = reading(hand, side="left", error=0.199)
    assert selected(as_right, near) == [as_right], "where both lie alike, the detector's word counts"


def test_a_doubted_hand_gives_way_to_one_on_which_the_networks_agree() -> None:
    doubted = reading(detection(40, size=30), disagreement=0.3, confidence=0.9)
    agreed = reading(detection(0), confidence=0.4)
    assert selected(doubted, agreed) == [agreed]
    assert selected(doubted, agreed, disagreement=1.0) == [doubted], "unless nothing is doubted"


def test_a_grossly_doubted_hand_stays_where_its_box_is_sure() -> None:
    for score, kept in ((0.95, True), (0.8, False)):
        doubted = reading(detection(0, score=score), disagreement=0.3)
        assert selected(doubted) == [doubted] * kept
        agreed = reading(detection(0, score=score))
        assert selected(agreed) == [agreed]


def test_confidence_falls_where_the_networks_see_different_hands() -> None:
    config = SelectionConfig(gross=0.1)
    np.testing.assert_allclose(config.trust(np.array([0.0, 0.1, 0.2, 0.4, np.nan])), [1, 1, 0.25, 0.0625, 1], rtol=1e-6)


def test_an_unsure_side_is_tried_both_ways() -> None:
    found = [detection(0, right=0.5), detection(300, right=0.95)]
    candidates = candidates_of(found, [None, None], 0.15, crop=replace(load().engine.config.crop))
    assert [candidate.side for candidate in candidates] == ["right", "left", "right"]
    given = candidates_of(found, ["left", "left"], 0.15, crop=load().engine.config.crop)
    assert [candidate.side for candidate in given] == ["left", "left"]
    assert [candidate.side_given for candidate in candidates + given] == [False] * 3 + [True] * 2
