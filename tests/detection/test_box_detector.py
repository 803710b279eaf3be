"""Boxes in photos: one look, closer ones at large photos."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand.assets import detector_of
from maskhand.detection.box_detector import INPUT_PX, BoxConfig, BoxDetector, weighted_nms
from maskhand.detection.box_network import STRIDES, BoxNetwork, cell_outputs, cells, shared_box_network
from maskhand.errors import AssetError
from maskhand.geometry.boxes import iou
from maskhand.runtime.onnx_engine import OnnxEngine

CELLS = sum((INPUT_PX // stride) ** 2 for stride in STRIDES)


class Bright:
    """An engine whose hand is the bright pixels of what it is shown, surer the larger they are."""

    def __init__(self) -> None:
        self.looks = 0

    def array(self, values: np.ndarray) -> np.ndarray:
        return values

    def run(self, graph: str, image: np.ndarray) -> dict[str, np.ndarray]:
        assert graph == "hands"
        self.looks += len(image)
        outputs = {
            "scores": np.zeros((len(image), CELLS), np.float32), "boxes": np.zeros((len(image), CELLS, 4), np.float32),
            "right": np.full((len(image), CELLS), 0.8, np.float32),
            "direction": np.tile(np.float32([0, -1]), (len(image), CELLS, 1)),
        }  # fmt: skip
        for k, view in enumerate(image):
            y, x = np.nonzero(view[..., 0] > 200)
            if len(x):
                outputs["boxes"][k, 0] = x.min(), y.min(), x.max() + 1, y.max() + 1
                outputs["scores"][k, 0] = min(1.0, np.ptp(x) / 40)
        return outputs


def photo_with(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> np.ndarray:
    photo = np.full((size[1], size[0], 3), 90, np.uint8)
    for x1, y1, x2, y2 in boxes:
        photo[y1:y2, x1:x2] = 255
    return photo


def test_a_box_comes_back_in_the_photos_pixels() -> None:
    box = (300, 100, 420, 260)
    engine = Bright()
    (hand,) = BoxDetector(engine).find(photo_with((500, 300), box))
    np.testing.assert_allclose(hand.box, box, atol=2)
    assert hand.score == 1 and hand.right == pytest.approx(0.8) and hand.angle == 0 and engine.looks == 1


def test_a_small_hand_in_a_large_photo_is_looked_at_more_closely() -> None:
    box = (1700, 300, 1810, 420)
    photo = photo_with((2400, 1800), box)
    assert BoxDetector(Bright(), BoxConfig(tiles=0)).find(photo) == [], "too small for the overview"
    engine = Bright()
    (hand,) = BoxDetector(engine).find(photo)
    assert iou(np.array(box, float), hand.box[None])[0] > 0.9
    assert engine.looks <= 1 + BoxConfig().tiles


def test_a_photo_without_hands_costs_no_closer_looks() -> None:
    engine = Bright()
    assert BoxDetector(engine).find(photo_with((2400, 1800))) == [] and engine.looks == 1


def test_a_tile_that_cuts_a_hand_does_not_count() -> None:
    photo = photo_with((2400, 1800), (0, 0, 900, 900))
    (hand,) = BoxDetector(Bright(), BoxConfig(tile_hand=9.0)).find(photo)
    np.testing.assert_allclose(hand.box, (0, 0, 900, 900), atol=12)


def test_the_graph_is_the_network(demo_image) -> None:
    import torch

    view = np.ascontiguousarray(demo_image[:320, :320])[None]
    found = OnnxEngine().run("hands", image=view)
    with torch.no_grad():
        pixels = torch.from_numpy(view).permute(0, 3, 1, 2).float() / 255
        expected = cell_outputs(shared_box_network()(pixels), INPUT_PX, INPUT_PX)
    np.testing.assert_allclose(found["scores"], expected.score.sigmoid(), atol=1e-4)
    np.testing.assert_allclose(found["boxes"], expected.boxes, atol=0.02)
    np.testing.assert_allclose(found["right"], expected.right.sigmoid(), atol=1e-4)


def test_cells_cover_the_image() -> None:
    centres, strides = cells(INPUT_PX, INPUT_PX)
    assert len(centres) == CELLS and set(strides.tolist()) == set(STRIDES)
    for stride in STRIDES:
        own = centres[strides == stride]
        assert own.min() == stride / 2 and own.max() == INPUT_PX - stride / 2


def test_weights_of_a_run_take_the_place_of_the_shipped_ones(tmp_path, demo_image) -> None:
    from maskhand.checkpoint import save_weights

    save_weights(tmp_path / "mine.safetensors", BoxNetwork().state_dict(), {"detector": "box"})
    assert detector_of(tmp_path / "mine.safetensors").boxes.find(demo_image) == [], "its first weights find nothing"
    assert len(detector_of("default").boxes.find(demo_image)) == 2
    save_weights(tmp_path / "other.safetensors", {"a": BoxNetwork().heads[0][2].bias}, {})
    with pytest.raises(AssetError, match="do not fit"):
        detector_of(tmp_path / "other.safetensors")
    with pytest.raises(AssetError):
        detector_of(tmp_path / "none.safetensors")


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
