"""Webdataset tars: what goes in comes out, and a run that was killed goes on without loss or duplicates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest
from tests import miniature

from maskhand.data.datasets import dataset
from maskhand.data.shards import ShardConfig, dataset_chunks, prepare, read_shards
from maskhand.errors import InputError

CONFIG = ShardConfig(rows=3, size=128)


@pytest.fixture
def rhd(hand_model, tmp_path):
    root = tmp_path / "rhd"
    scenes = miniature.draw_scenes(hand_model, 8, miniature.BOTH)
    miniature.rhd(root, scenes)
    return root, scenes


def chunks(root):
    return dataset_chunks(dataset("rhd"), root, "evaluation", CONFIG.rows)


def test_labels_fit_the_crops_they_come_with(rhd, tmp_path) -> None:
    root, scenes = rhd
    manifest = prepare(tmp_path / "out", "rhd", chunks(root), CONFIG, workers=1)
    assert manifest["count"] == 8 and [s["count"] for s in manifest["shards"]] == [3, 3, 2]
    for (image, labels), scene in zip(read_shards(tmp_path / "out"), scenes, strict=True):
        assert image.shape[0] == image.shape[1] <= 128
        assert bool(labels["right"]) == (scene.side == "right")
        np.testing.assert_allclose(labels["keypoints_3d"][:, :3], scene.points, atol=1e-5)
        seen = labels["keypoints_3d"][:, :3] @ labels["intrinsic"].T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], labels["keypoints_2d"][:, :2], atol=0.05)
        x, y = labels["keypoints_2d"][:, :2].astype(int).T
        skin = np.abs(image[y, x].astype(int) - (220, 170, 140)).sum(1) < 90
        assert skin.mean() > 0.8


def test_a_tar_holds_jpegs_and_npz_files_alone(rhd, tmp_path) -> None:
    prepare(tmp_path / "out", "rhd", chunks(rhd[0]), CONFIG, workers=1)
    with tarfile.open(tmp_path / "out" / "rhd-000001.tar") as archive:
        assert archive.getnames() == [f"{k:010d}.{s}" for k in (3, 4, 5) for s in ("jpg", "npz")]


def test_damaged_samples_are_left_out_and_listed(rhd, tmp_path) -> None:
    root, _ = rhd
    (root / "evaluation" / "color" / "00004.png").write_bytes(b"cut")
    manifest = prepare(tmp_path / "out", "rhd", chunks(root), CONFIG, workers=1)
    assert manifest["count"] == 7 and manifest["left_out"] == 1
    assert manifest["shards"][1]["left_out"].keys() == {"evaluation/00004/right"}
    assert "00004.png cannot be read" in manifest["shards"][1]["left_out"]["evaluation/00004/right"]


@pytest.mark.parametrize("change", [{"rows": 4}, {"size": 96}, {"limit": 5}])
def test_a_run_with_other_settings_does_not_mix_with_an_earlier_one(change, rhd, tmp_path) -> None:
    limit = change.pop("limit", None)
    prepare(
        tmp_path / "out",
        "rhd",
        dataset_chunks(dataset("rhd"), rhd[0], "evaluation", CONFIG.rows, limit),
        CONFIG,
        workers=1,
    )
    other = replace(CONFIG, **change)
    with pytest.raises(InputError, match="written with other settings"):
        prepare(
            tmp_path / "out", "rhd", dataset_chunks(dataset("rhd"), rhd[0], "evaluation", other.rows), other, workers=1
        )


def test_what_was_left_out_is_tried_again(rhd, tmp_path) -> None:
    path = rhd[0] / "evaluation" / "color" / "00004.png"
    whole = path.read_bytes()
    path.write_bytes(b"cut")
    prepare(tmp_path / "out", "rhd", chunks(rhd[0]), CONFIG, workers=1)
    path.write_bytes(whole)
    manifest = prepare(tmp_path / "out", "rhd", chunks(rhd[0]), CONFIG, workers=1)
    assert manifest["count"] == 8 and manifest["left_out"] == 0


def test_a_damaged_tar_is_written_again_and_never_read(rhd, tmp_path) -> None:
    out = tmp_path / "out"
    before = prepare(out, "rhd", chunks(rhd[0]), CONFIG, workers=1)
    tar = out / "rhd-000001.tar"
    tar.write_bytes(tar.read_bytes()[:600])
    with pytest.raises(InputError, match=r"rhd-000001\.tar is missing or not the one"):
        list(read_shards(out))
    untouched = (out / "rhd-000000.tar").stat().st_mtime_ns
    assert prepare(out, "rhd", chunks(rhd[0]), CONFIG, workers=1) == before
    assert (out / "rhd-000000.tar").stat().st_mtime_ns == untouched
    assert len(list(read_shards(out))) == 8


def test_a_killed_run_goes_on_without_loss_or_duplicates(tmp_path) -> None:
    command = [sys.executable, "-m", "maskhand.cli.main", "data", "prepare", "synthetic", "-o", str(tmp_path / "out")]
    command += ["--count", "44", "--rows", "8", "--workers", "1"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*-000001.json")) and time.monotonic() < deadline:
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "out" / "manifest.json").exists()
    survivor = tmp_path / "out" / "synthetic-seed1-000000.tar"
    written = survivor.stat().st_mtime_ns
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    names = [str(labels["name"]) for _, labels in read_shards(tmp_path / "out")]
    assert names == [f"seed1/{k}" for k in range(44)] and manifest["count"] == 44
    assert survivor.stat().st_mtime_ns == written
    assert not list((tmp_path / "out").glob("*.part"))
