"""What a stranger changes through public names alone: a detector, a data set, a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from maskhand import load
from maskhand.backbones.base import Maps, register_backbone
from maskhand.config import load as read_config
from maskhand.data.datasets import register_dataset
from maskhand.data.datasets.source import Dataset
from maskhand.data.sample import Sample
from maskhand.data.shards import read_shards
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.loop import fit
from maskhand.training.model_stage import ModelStage
from maskhand.training.settings import ModelTraining
from maskhand.types import Detection, Keypoints2D


class MyDetector:
    """Boxes, and for one hand keypoints, from somewhere else."""

    def __init__(self, *hands: Detection) -> None:
        self.hands = list(hands)

    def detect(self, image: np.ndarray) -> list[Detection]:
        return self.hands


def test_a_detector_of_ones_own_with_boxes_or_keypoints(predictor, hands, demo_image) -> None:
    right, left = hands
    keypoints = np.c_[left.trace.keypoints.xy, np.ones(21)]
    keypoints[12] = 0  # unknown
    mine = load(
        detector=MyDetector(
            Detection(box=right.box, score=0.8),
            Detection(box=left.box, score=0.7, right=0.0, keypoints=Keypoints2D.of_user(keypoints)),
        )
    )
    found = sorted(mine(demo_image), key=lambda hand: hand.box[0])
    assert [hand.side for hand in found] == ["right", "left"] and [hand.score for hand in found] == [0.8, 0.7]
    for hand, wanted in zip(found, hands, strict=True):
        size = np.ptp(wanted.keypoints, axis=0).max()
        assert np.linalg.norm(hand.keypoints - wanted.keypoints, axis=1).mean() < 0.06 * size
    assert found[1].trace.keypoints.source == "user" and found[1].trace.keypoints.confidence[12] == 0
    assert found[1].trace.crop.side < 1.3 * left.trace.crop.side, "the unknown one does not spoil the crop"


def read_my_photos(root: Path, split: str) -> Iterator[Sample]:
    for path in sorted((root / split).glob("*.png")):
        yield Sample(name=path.stem, image=path, side="right", box=np.array([10.0, 10, 60, 70]))


def test_a_new_data_set_in_one_file(tmp_path) -> None:
    from typer.testing import CliRunner

    from maskhand.cli.main import app

    (tmp_path / "train").mkdir()
    for k in range(3):
        Image.fromarray(np.full((80, 80, 3), 50 * k, np.uint8)).save(tmp_path / "train" / f"{k}.png")
    register_dataset(
        Dataset(name="mine", title="My photos", url="-", licence="mine", splits={"train": 3}, read=read_my_photos)
    )
    for command in (["check"], ["prepare", "-o", str(tmp_path / "shards"), "--workers", "1"]):
        result = CliRunner().invoke(app, ["data", command[0], "mine", str(tmp_path), *command[1:]])
        assert result.exit_code == 0, result.output
    assert [str(labels["name"]) for _, labels in read_shards(tmp_path / "shards")] == ["0", "1", "2"]


class Patches(nn.Module):
    """A backbone of one convolution."""

    channels = {1: 24}
    base = (8, 8)
    input_px = 64
    shares_landmark_trunk = False

    def __init__(self, learns: str) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, stride=8)

    def forward(self, image: torch.Tensor) -> Maps:
        return {1: self.patches(image)}

    def finish(self, maps: Maps) -> Maps:
        return maps

    def trainable(self) -> list[nn.Parameter]:
        return list(self.parameters())


def test_another_backbone_by_a_setting(tmp_path, hand_model) -> None:
    register_backbone("patches", Patches)
    config = Path(__file__).parents[1] / "configs" / "paper-mix.toml"
    overrides = ["network.model.encoder.backbone='patches'", "network.model.width=16", "network.model.heads=2"]
    overrides += ["data.workers=0", "train.steps=1", "train.batch_size=2", "train.accelerator='cpu'"]
    overrides += ["train.precision='32-true'", "train.evaluate_every=1"]
    settings = read_config(ModelTraining, config, overrides)
    small = TokenizerConfig(token_count=32, codebook_size=64, code_dim=16, width=16, depth=1)
    fit(ModelStage(settings, VqMano(small).eval(), hand_model), settings.train, tmp_path)
    weights = load(tmp_path / "last.safetensors")
    assert isinstance(weights.network.model.encoder.backbone, Patches)
    photo = np.full((90, 90, 3), 128, np.uint8)
    assert weights.reconstruct(photo, [[10, 10, 80, 80]], ["right"])[0].vertices.shape == (1609, 3)
