"""Photos with boxes: three layouts that say the same, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskhand.data.box_files import boxed_photos
from maskhand.errors import InputError

BOX = np.array([20.0, 10, 60, 40])  # of a photo 100 wide and 50 high


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((50, 100, 3), np.uint8))


def own(root: Path) -> None:
    photo(root / "a.png"), photo(root / "b.png")
    (root / "boxes.json").write_text(json.dumps({"b.png": [], "a.png": [["left", 0.4, 0.5, 0.4, 0.6]]}))


def yolo(root: Path) -> None:
    photo(root / "images" / "a.png"), photo(root / "images" / "b.png")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 0.4 0.5 0.4 0.6\n")


def coco(root: Path) -> None:
    photo(root / "images" / "a.png"), photo(root / "images" / "b.png")
    (root / "annotations").mkdir()
    data = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [20, 10, 40, 30]}],
        "categories": [{"id": 1, "name": "left"}],
    }
    (root / "annotations" / "test.json").write_text(json.dumps(data))


@pytest.mark.parametrize(("layout", "kind"), [(own, "left"), (yolo, "class 0"), (coco, "left")])
def test_three_layouts_give_the_same_boxes(tmp_path, layout, kind: str) -> None:
    layout(tmp_path)
    first, second = boxed_photos(tmp_path)
    image, boxes = first.read()
    assert image.shape == (50, 100, 3) and first.kinds == (kind,)
    np.testing.assert_allclose(boxes, [BOX])
    assert second.path.name == "b.png" and second.read()[1].shape == (0, 4)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', '{"images": [{"id": 1}], "annotations": []}'])
def test_a_damaged_coco_file_is_named(tmp_path, text: str) -> None:
    (tmp_path / "hands.json").write_text(text)
    with pytest.raises(InputError, match=r"hands\.json"):
        list(boxed_photos(tmp_path))


def test_a_folder_without_boxes_says_what_it_needs(tmp_path) -> None:
    with pytest.raises(InputError, match="COCO"):
        boxed_photos(tmp_path)
    yolo(tmp_path)
    (tmp_path / "labels" / "a.txt").write_text("0 left right\n")
    with pytest.raises(InputError, match=r"a\.txt"):
        list(boxed_photos(tmp_path))
    (tmp_path / "boxes.json").write_text('{"a.png": [["left", 1, 2]]}')
    with pytest.raises(InputError, match=r"a\.png"):
        list(boxed_photos(tmp_path))
