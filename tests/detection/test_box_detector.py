"""The one-stage hand detector: its boxes, in the photo's pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskhand.assets import detector_of
from maskhand.checkpoint import save_weights
from maskhand.detection.box_detector import BoxConfig, BoxDetector
from maskhand.detection.box_network import INPUT_PX, STRIDES, BoxNetwork, cell_outputs, cells
from maskhand.errors import AssetError


class OneCell(BoxNetwork):
    """Says that one cell sees a hand, left of its centre 2 strides, right 4, and so on."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, image):
        raw = torch.full((len(image), len(cells(INPUT_PX, INPUT_PX)[0]), 8), 0.0)
        raw[..., 0] = -9
        raw[:, self.cell] = torch.tensor([4.0, *np.log([1, 1, 2, 3]), 2.0, 0.0, -1.0])
        return raw


def test_cells_cover_the_input_at_every_stride() -> None:
    centres, strides = cells(INPUT_PX, INPUT_PX)
    assert len(centres) == sum((INPUT_PX // stride) ** 2 for stride in STRIDES)
    assert centres.min() == 4 and centres[strides == 32].max() == INPUT_PX - 16


def test_a_box_lies_where_its_cell_says_in_a_letterboxed_photo() -> None:
    network = OneCell(20 * 40 + 20)  # stride 8, centre 164, 164 of 320
    photo = np.zeros((320, 640, 3), np.uint8)  # twice as wide: 2 photo pixels per input pixel, 160 above it
    (hand,) = BoxDetector(network).detect(photo)
    np.testing.assert_allclose(hand.box, [2 * (164 - 16), 2 * (164 - 16) - 160, 2 * (164 + 32), 2 * (164 + 48) - 160])
    assert hand.score == pytest.approx(torch.tensor(4.0).sigmoid().item()) and hand.side == "right"
    (found,) = BoxDetector(network).find([photo])[0]
    np.testing.assert_allclose(found.direction, [0, -1])
    assert BoxDetector(network, BoxConfig(threshold=0.99)).detect(photo) == []


def test_weights_come_back_and_wrong_ones_are_named(tmp_path) -> None:
    network = BoxNetwork()
    save_weights(tmp_path / "box.safetensors", network.state_dict(), {"detector": "box"})
    photo = np.random.default_rng(0).integers(0, 255, (100, 80, 3), dtype=np.uint8)
    again = BoxDetector.read(tmp_path / "box.safetensors", BoxConfig(threshold=0.0))
    first = BoxDetector(network, BoxConfig(threshold=0.0))
    assert [h.score for h in again.detect(photo)] == pytest.approx([h.score for h in first.detect(photo)], abs=1e-5)
    save_weights(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {})
    with pytest.raises(AssetError, match="do not fit"):
        detector_of(tmp_path / "other.safetensors")


def test_outputs_grow_with_the_stride() -> None:
    outputs = cell_outputs(torch.zeros(1, len(cells(64, 64)[0]), 8), 64, 64)
    sides = outputs.boxes[0, :, 2] - outputs.boxes[0, :, 0]
    assert sorted(set(sides.tolist())) == [32, 64, 128]
