"""The fixed synthetic test: images of seeds that no training run uses."""

from __future__ import annotations

import tempfile
from pathlib import Path

from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import cache_shards, complete_shards
from maskhand.synthesis.backgrounds import require_packaged_photos
from maskhand.synthesis.scenes import SceneConfig

TEST_SEED = 424_242
"""Training runs use small seeds."""
TEST_SHARD_ROWS = 250


def synthetic_test(
    count: int = 5000, folder: str | Path | None = None, *, images: bool = False, workers: int = 2
) -> CachedSamples:
    """Features and truth of at least the first `count` test images, drawn now or read from `folder` if they are there.

    images: with the crops, for a model that does not read the features.
    """
    require_packaged_photos()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(folder or temporary)
        shards = -(-count // TEST_SHARD_ROWS)
        rows, config = TEST_SHARD_ROWS, SceneConfig()
        cache_shards(root, seed=TEST_SEED, shards=range(shards), rows=rows, config=config, workers=workers, images=images)
        wanted = [s for s in complete_shards(root) if s.name.startswith(f"seed{TEST_SEED}-")][:shards]
        return CachedSamples(wanted, in_memory=folder is None)
