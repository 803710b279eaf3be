"""Shared pieces: one hand model, one predictor, synthetic photos; the development data where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from maskhand.assets import load
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.io.photos import read_photo
from maskhand.predictor import Predictor
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.types import Hand


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def hand_model() -> HandModel:
    return HandModel(free_hand_data())


@pytest.fixture(scope="session")
def poses(hand_model: HandModel) -> torch.Tensor:
    """Eight poses of the prior, turned at random."""
    return next(PosePrior(hand_model).batches(8, 3, [0]))


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return load()


@pytest.fixture(scope="session")
def torch_predictor() -> Predictor:
    """The same, run by PyTorch."""
    return load(backend="torch")


@pytest.fixture(scope="session")
def demo_image() -> np.ndarray:
    from maskhand.assets import embedded

    return read_photo(embedded("demo.jpg")).pixels


@pytest.fixture(scope="session")
def hands(predictor, demo_image) -> list[Hand]:
    """The two hands of the packaged picture, from left to right."""
    return sorted(predictor(demo_image), key=lambda hand: hand.box[0])


@pytest.fixture(scope="session")
def development_data() -> Path:
    """The folder of real hands, which the repository does not hold (docs/data.md)."""
    root = Path(os.environ.get("MASKHAND_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"the development data are not at {root}; set MASKHAND_DATA to their folder")
    return root


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """Feature shards: 16 synthetic crops, 4 that judge, and 6 of the first again as photos without labels."""
    from maskhand.data.cached import CachedSamples
    from maskhand.data.feature_cache import TrunkReader, cache_synthetic, complete_shards, photo_truth, write_shard
    from maskhand.synthesis.scenes import SceneConfig

    root = tmp_path_factory.mktemp("cache")
    cache_synthetic(root / "synthetic", seed=11, shard=0, rows=16, config=SceneConfig())
    cache_synthetic(root / "validation", seed=12, shard=0, rows=4, config=SceneConfig(), images=True)
    rows = CachedSamples(complete_shards(root / "synthetic")).rows(np.arange(6))
    flat, space = rows["keypoints_2d"].numpy(), rows["keypoints_3d"].numpy()
    pairs = [(np.full((224, 224, 3), 40 * k, np.uint8), photo_truth(flat[k], space[k])) for k in range(6)]
    write_shard(root / "photos" / "all", pairs, TrunkReader(), {"source": "test"}, images=True)
    return root
