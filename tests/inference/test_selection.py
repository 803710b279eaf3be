"""Which readings are hands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from maskhand import load
from maskhand.geometry.boxes import box_around
from maskhand.geometry.crop import crop_around
from maskhand.inference.candidates import Candidate, Proposal, Reading, candidates_of
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
    **needs,
) -> Reading:
    empty = torch.zeros(1, 21)
    keypoints = Keypoints2D(torch.zeros(1, 21, 2), empty, empty, torch.zeros(1), "landmark_network", "fused")
    prediction = Prediction(
        torch.eye(3).expand(1, 16, 3, 3), torch.zeros(1, 10), torch.zeros(1, 3), keypoints, torch.zeros(1, 64),
        torch.zeros(1, 64), empty, empty, torch.tensor([disagreement]),
    )  # fmt: skip
    candidate = Candidate(hand, crop_around(hand.xy, mirrored=side == "left"), **needs)
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
    agreed = reading(detection(0), must_agree=True, confidence=0.4)
    assert selected(doubted, agreed) == [agreed]
    assert selected(doubted, agreed, disagreement=1.0) == [doubted], "unless nothing is doubted"


def test_a_doubted_hand_stays_where_score_or_confidence_are_sure() -> None:
    for score, confidence, kept in ((0.95, 0.2, True), (0.6, 0.8, True), (0.6, 0.5, False)):
        doubted = reading(detection(0, score=score), disagreement=0.3, confidence=confidence)
        assert selected(doubted) == [doubted] * kept


def test_a_second_search_counts_where_the_networks_agree_or_as_another_reading() -> None:
    doubted = reading(detection(0), disagreement=0.3, confidence=0.5)
    surer = reading(detection(4), disagreement=0.2, confidence=0.8, must_agree=True)
    elsewhere = reading(detection(400), disagreement=0.2, confidence=0.8, must_agree=True)
    assert selected(surer) == [] and selected(elsewhere) == []
    assert selected(doubted, surer, elsewhere) == [surer], "of readings of one hand the surest"
    weak = reading(detection(400), confidence=0.5, required_confidence=0.55, must_agree=True)
    assert selected(weak) == []


def test_an_unsure_side_is_tried_both_ways() -> None:
    proposal = Proposal([detection(0, right=0.5), detection(300, right=0.95)])
    candidates = candidates_of(proposal, [None, None], 0.15, crop=replace(load().engine.config.crop))
    assert [candidate.side for candidate in candidates] == ["right", "left", "right"]
    given = candidates_of(proposal, ["left", "left"], 0.15, crop=load().engine.config.crop)
    assert [candidate.side for candidate in given] == ["left", "left"]


@pytest.fixture(scope="module")
def picture(demo_image) -> np.ndarray:
    """The right hand of the packaged picture."""
    return np.ascontiguousarray(demo_image[:, :520])


class Given:
    """A detector that finds what it was given."""

    def __init__(self, *hands: Detection) -> None:
        self.hands = list(hands)

    def detect(self, image: np.ndarray) -> list[Detection]:
        return self.hands


def test_a_fingertip_taken_for_a_hand_gives_way_to_the_hand(predictor, picture) -> None:
    (hand,) = predictor.detector.detect(picture)
    tip = hand.xy[8]
    cut = ((hand.xy - tip) * 0.3 + tip).astype(np.float32)
    finger = replace(hand, keypoints=replace(hand.points, xy=cut), box=box_around(cut), score=0.95)
    hasty = load(settings=["recrop.rounds=0", "proposals.turned_if_none=false"])
    hasty.detector.detect = Given(finger).detect
    (alone,) = load(detector=Given(finger), settings=["recrop.rounds=0"])(picture)
    assert alone.trace.disagreement > SelectionConfig().disagreement
    (found,) = hasty(picture)
    assert found.trace.disagreement <= SelectionConfig().disagreement
    size = (hand.box[2:] - hand.box[:2]).max()
    (right,) = predictor(picture)
    assert np.linalg.norm(found.keypoints - right.keypoints, axis=1).mean() < 0.05 * size


def test_a_photo_in_which_no_hand_was_detected_is_searched_once_more(picture) -> None:
    blind = load(settings=["detection.palms.threshold=0.5"])
    (before,) = blind(picture)
    blind.detector.detect = Given().detect
    (again,) = blind(picture)
    size = np.ptp(before.keypoints, axis=0).max()
    assert np.linalg.norm(again.keypoints - before.keypoints, axis=1).mean() < 0.05 * size
    assert blind(np.full_like(picture, 128)) == []
    never = load(settings=["selection.disagreement=0.0"])  # the networks never agree
    never.detector.detect = Given().detect
    assert never(picture) == []
