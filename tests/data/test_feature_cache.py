"""Feature shards on disk."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import (
    TrunkReader,
    complete_shards,
    missing_shards,
    photo_truth,
    write_shard,
)
from maskhand.errors import InputError
from maskhand.synthesis.scenes import SceneConfig


def test_shards_hold_what_the_network_sees_and_are_written_once(shards) -> None:
    samples = CachedSamples(complete_shards(shards / "synthetic"))
    rows = samples.rows(np.array([0, 15]))
    assert rows["map8"].shape == (2, 40, 28, 28)
    assert rows["pose"].shape == (2, 16, 3, 3) and bool(rows["labelled"].all())
    made = {"seed": 11, "rows": 16, "config": SceneConfig()}
    assert missing_shards(shards / "synthetic", range(2), **made) == [1]
    for other, message in (
        ({"rows": 8}, "rows"),
        ({"config": SceneConfig(object_share=0.0)}, "scenes"),
        ({"half": True}, "half"),
    ):
        with pytest.raises(InputError, match=message):
            missing_shards(shards / "synthetic", range(2), **made | other)
    assert not CachedSamples(complete_shards(shards / "photos")).small["labelled"].any()


def test_folders_that_are_no_shards_are_not_written_over(tmp_path) -> None:
    for name, meta in (("theirs", '{"title": "my photos"}'), ("beside", '{"source": "photos", "rows": 3}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text(meta)
        (tmp_path / name / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="is no feature shard"):
            write_shard(tmp_path / name, iter(()), TrunkReader(), {"source": "photos"})
        assert (tmp_path / name / "notes.txt").read_text() == "mine"


def test_a_shard_that_fails_leaves_nothing_behind(tmp_path) -> None:
    def broken():
        yield np.zeros((224, 224, 3), np.uint8), photo_truth(np.zeros((21, 2)), np.zeros((21, 3)))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_shard(tmp_path / "shard", broken(), TrunkReader(), {})
    with pytest.raises(InputError, match="maskhand data cache"):
        complete_shards(tmp_path)


def test_shards_with_depths_in_another_unit_are_refused(tmp_path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "meta.json").write_text('{"source": "photos", "rows": 3}')
    with pytest.raises(InputError, match="another unit"):
        complete_shards(tmp_path)
