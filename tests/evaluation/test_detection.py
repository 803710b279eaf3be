"""Recall, precision and average precision of detections, on cases one can count by hand."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from maskhand.data.box_files import boxed_photos
from maskhand.evaluation.detection import DetectionTally, detection_rows
from maskhand.types import Detection

A, B, FAR = (np.array(box, float) for box in ([0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]))


def test_each_hand_is_found_once_by_the_surest_detection() -> None:
    tally = DetectionTally(0.5)
    tally.add([Detection(A, 0.4, 0.9), Detection(A + 1, 0.9, 0.2), Detection(FAR, 0.6)], np.stack([A, B]), ["x", "y"],
              100.0, [1.0, np.nan])  # fmt: skip
    assert tally.correct == [True, False, False]
    assert tally.recall() == 0.5 and tally.recall("x") == 1 and tally.recall("y") == 0
    assert tally.precision == pytest.approx(1 / 3)
    assert tally.sides == [False]  # the surest one took the right hand for a left one


def test_average_precision_is_the_area_under_the_curve() -> None:
    tally = DetectionTally(0.5)
    tally.add([Detection(A, 0.9), Detection(FAR, 0.8), Detection(B, 0.7)], np.stack([A, B]), ["h", "h"], 100.0)
    assert tally.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert DetectionTally(0.5).average_precision == 0


def test_rows_by_kind_size_and_photos_without_a_hand(tmp_path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((100, 100, 3), 255 * (name == "b.png"), np.uint8))
    (tmp_path / "boxes.json").write_text(
        json.dumps({"a.png": [["glove", 0.05, 0.05, 0.1, 0.1], ["a left", 0.5, 0.5, 0.6, 0.6]], "b.png": []})
    )

    def detect(image: np.ndarray) -> list[Detection]:
        return [Detection(A, 0.8, 0.9)] if image.max() else [Detection(np.array([20.0, 20, 80, 80]), 0.7, 0.1)]

    rows = {row["hands"]: row for row in detection_rows(detect, boxed_photos(tmp_path))}
    assert rows["all"]["count"] == 2 and rows["all"]["recall_50"] == 50 and rows["all"]["precision_50"] == 50
    assert rows["all"]["side_percent"] == 100
    assert rows["glove"]["recall_30"] == 0 and rows["a left"]["recall_30"] == 100
    assert rows["medium: 10% to 30% of the photo"]["recall_30"] == 0
    assert rows["large: 30% to 200% of the photo"]["recall_30"] == 100
    assert rows[f"photos without, {tmp_path.name}"]["false_percent"] == 100


def test_boxes_of_ones_own_for_photos_that_lie_elsewhere(tmp_path) -> None:
    (tmp_path / "photos" / "one").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "photos" / "one" / "a.png"), np.zeros((50, 100, 3), np.uint8))
    (tmp_path / "mine.json").write_text(json.dumps({"one/a.png": [["carton", 0.5, 0.5, 0.2, 0.4]]}))
    (photo,) = boxed_photos(tmp_path / "photos", tmp_path / "mine.json")
    np.testing.assert_allclose(photo.read()[1], [[40, 15, 60, 35]])
