"""Batches by number, and the landmark network's part in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers import small_config, small_network, train_config

from maskhand.data.cached import CachedSamples, mixed_batches
from maskhand.data.feature_cache import TrunkReader, complete_shards
from maskhand.data.live import live_batches
from maskhand.detection.hand_detector import HandDetector
from maskhand.detection.landmark_network import shared_landmark_network
from maskhand.geometry.crop import crop_around
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.model.config import EncoderConfig
from maskhand.runtime.onnx_engine import OnnxEngine
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.synthesis.scenes import SceneConfig
from maskhand.training.batches import image_batches, with_landmarks
from maskhand.training.settings import DataConfig, ModelTraining


def test_batches_go_by_their_numbers_and_a_share_of_nothing_takes_nothing(shards, hand_model) -> None:
    tables = [CachedSamples(complete_shards(shards / name)) for name in ("synthetic", "photos")]
    live = {"seed": 3, "batch": 4, "workers": 0}

    def streams(*steps: int) -> list:
        return [
            mixed_batches(tables, [1.0, 0.0], 8, 3, steps),
            live_batches(free_hand_data(), SceneConfig(), steps=steps, **live),
            ({"pose": pose} for pose in PosePrior(hand_model).batches(4, 3, steps)),
        ]

    for all_of_them, every_other in zip(streams(1, 2, 3), streams(1, 3), strict=True):
        one, _, three = all_of_them
        for batch, wanted in zip((one, three), every_other, strict=True):
            assert torch.equal(batch["pose"], wanted["pose"])
    assert bool(next(streams(0)[0])["labelled"].all())


@pytest.mark.parametrize("learns", ["nothing", "all"])
def test_images_come_with_what_the_landmark_network_says_of_them(learns, shards) -> None:
    changes = {"width": 16, "encoder": EncoderConfig(learns=learns)}
    data = DataConfig(synthetic="live", photos=str(shards / "photos"), photo_share=0.25, workers=0, augment=1.0)
    settings = ModelTraining(train=train_config(batch_size=8), data=data, network=small_config(**changes))
    photos = CachedSamples(complete_shards(shards / "photos"))
    (batch,) = image_batches(settings, small_network(**changes), photos, [5])
    assert batch["labelled"].tolist() == [True] * 6 + [False] * 2 and batch["points"].shape == (8, 21, 4)
    assert ("map8" in batch, "image" in batch) == ((True, False) if learns == "nothing" else (False, True))
    (again,) = image_batches(settings, small_network(**changes), photos, [5])
    assert all(torch.equal(batch[key], again[key]) for key in batch), "a batch goes by its number"


def test_the_landmark_network_reads_turned_crops_upright(demo_image) -> None:
    hand = max(HandDetector(OnnxEngine()).detect(demo_image), key=lambda hand: hand.right)
    network = small_network(upright=False)
    straight = crop_around(hand.xy, mirrored=False)
    for turn in (0.0, 2.0, -1.3):
        crop = replace(straight, angle=straight.angle + turn)
        pixels, true = crop.extract(demo_image, 224), torch.from_numpy(crop.to_crop(hand.xy))[None]
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        batch = with_landmarks({"image": image, "keypoints_2d": true}, shared_landmark_network(), network)
        assert (batch["points"][0, :, :2] - true[0]).norm(dim=-1).mean() < 0.06, "less than a finger's width"
        cached = TrunkReader()(pixels[None], true.numpy())["points"][0]
        np.testing.assert_allclose(cached, batch["points"][0], atol=0.02)
