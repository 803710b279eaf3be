"""The fixed synthetic test: images of seeds that no training run uses."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import cache_shards, complete_shards
from maskhand.evaluation.reconstruction import Reconstructed
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.rendering.contact_sheet import contact_sheet, draw_bones, finger_colours
from maskhand.rendering.pictures import written
from maskhand.synthesis.backgrounds import require_packaged_photos
from maskhand.synthesis.scenes import HARD_SCENES, SceneConfig, SceneGenerator

TEST_SEED = 424_242
"""Training runs use small seeds."""
TEST_SHARD_ROWS = 250


def synthetic_test(
    count: int = 5000,
    folder: str | Path | None = None,
    *,
    images: bool = False,
    upright: bool = True,
    hard: bool = False,
    workers: int = 2,
) -> CachedSamples:
    """Features and truth of at least the first `count` test images, drawn now or read from `folder` if they are there.

    images: with the crops, for a model that does not read the features; upright: crops turned so, as a model wants
    them; hard: of gloves, cartons and clasped hands.
    """
    require_packaged_photos()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(folder or temporary)
        rows = min(count, TEST_SHARD_ROWS) if folder is None else TEST_SHARD_ROWS
        shards, config = -(-count // rows), replace(HARD_SCENES if hard else SceneConfig(), upright=upright)
        cache_shards(
            root, seed=TEST_SEED, shards=range(shards), rows=rows, config=config, workers=workers, images=images
        )
        wanted = [s for s in complete_shards(root) if s.name.startswith(f"seed{TEST_SEED}-")][:shards]
        return CachedSamples(wanted, in_memory=folder is None)


def worst_sheet(
    result: Reconstructed, count: int, path: str | Path, *, upright: bool = True, hard: bool = False
) -> Path:
    """The `count` test images whose hands came out worst: the image, the true skeleton, the predicted one and its error
    [mm].

    result: of the test images from the first one on; upright, hard: as for `synthetic_test`.
    """
    error = result.errors["pa_mpjpe_mm"]
    generator = SceneGenerator(
        HandModel(free_hand_data()), replace(HARD_SCENES if hard else SceneConfig(), upright=upright), TEST_SEED
    )
    tiles = []
    for k in error.argsort(descending=True)[:count].tolist():
        sample = next(generator.samples(k, k + 1))
        size, known, colours = len(sample.image), np.ones(21, bool), finger_colours()
        true, found = (
            draw_bones(sample.image, (points + 1) / 2 * size, known, colours, 2)
            for points in (sample.keypoints_2d, result.flat[k].numpy())
        )
        named = written(found, f"{error[k]:.1f} mm", (6, 6), (255, 255, 255))
        tiles.append(np.concatenate([sample.image, true, named], 1))
    return contact_sheet(tiles, path, 2)
