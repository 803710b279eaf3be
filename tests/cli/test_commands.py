"""The other commands."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers import run

from maskhand.checkpoint import save_weights
from maskhand.cli.main import app
from maskhand.config import to_dict
from maskhand.data.cached import CachedSamples
from maskhand.errors import MaskHandError
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.tokenizer.vq_mano import VqMano


def test_hypotheses_of_each_hand_are_a_picture_and_a_record(photos, tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    out = tmp_path / "out"
    result = run("hypotheses", photos / "a.png", "-o", out, "--count", 3, "--steps", 2, "--format", "ply")
    assert result.exit_code == 0, result.output
    meshes = {f"a_hand_{hand}_{k}.ply" for hand in (0, 1) for k in range(3)}
    assert {p.name for p in out.iterdir()} == {
        "a_hand_0.png",
        "a_hand_0.json",
        "a_hand_1.png",
        "a_hand_1.json",
    } | meshes
    schema = json.loads((files("maskhand") / "assets" / "result.schema.json").read_text())
    record = json.loads((out / "a_hand_1.json").read_text())
    jsonschema.validate(record, schema)
    assert len(record["hands"]) == 3 and len({hand["side"] for hand in record["hands"]}) == 1
    assert Image.open(out / "a_hand_0.png").size == (900, 600)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a_hand_1.png").touch()
    with pytest.raises(MaskHandError, match="no result of maskhand"):
        app(["hypotheses", str(photos / "a.png"), "-o", str(tmp_path / "own"), "--count", "1"], standalone_mode=False)
    assert len(list((tmp_path / "own").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "figure"),
    [
        (["synthetic", "--count", 4, "--steps", 1], "pa_mpjpe_mm"),
        (["hypotheses", "--images", 4, "--count", 2, "--steps", 1, "--model", "large"], "best_pa_mpjpe_mm"),
        (["rounds", "--images", 4, "--steps", 3], "round_3_confidence"),
        (["sides", "--count", 16], "mirror_image_and_reading_percent"),
    ],
)
def test_the_measures_of_the_model_card_run(tmp_path, monkeypatch, arguments, figure) -> None:
    result = run("evaluate", *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert ("figures of one view" in result.stderr) is ("large" in arguments)
    figures = json.loads(result.stdout)
    assert figure in figures, figures


@pytest.mark.parametrize("teacher", [[], ["--teacher", "default"]])
def test_photos_become_a_shard_with_the_held_out_ones_apart(tmp_path, demo_image, teacher) -> None:
    folder = tmp_path / "real_crops" / "somebody"
    folder.mkdir(parents=True)
    for k in range(5):
        Image.fromarray(demo_image).save(folder / f"{k}.png")
    for options, rows in (([], 4), (["--held-out"], 1)):
        result = run(
            "data", "cache", "photos", tmp_path, "-o", tmp_path / f"shard{rows}", "--crops", 1, *options, *teacher
        )
        assert result.exit_code == 0, result.output
        assert len(CachedSamples([tmp_path / f"shard{rows}"])) == rows and "sign_digits is not there" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["preview", "synthetic", "-o", "FOLDER"],
        ["train", "export", "a", "-o", "FOLDER", "--cache", "c"],
    ],
)
def test_a_folder_in_a_files_place_is_named_before_the_work(tmp_path, arguments) -> None:
    folder = tmp_path / "folder.png"
    folder.mkdir()
    result = run(*[folder if a == "FOLDER" else a for a in arguments])
    assert result.exit_code != 0 and "folder.png" in result.output + str(result.exception)
    assert isinstance(result.exception, (MaskHandError, SystemExit)), repr(result.exception)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, maskhand.cli.main; sys.exit(bool({'torch', 'cv2', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["reconstruct"],
        ["demo"],
        ["evaluate"],
        ["evaluate", "stereo"],
        ["train", "model"],
        ["train", "detector"],
        ["detect"],
        ["preview", "synthetic"],
        ["data", "cache", "photos"],
    ],
)
def test_every_command_explains_itself(command) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0 and len(result.output) > 200


def test_detections_are_a_record_and_pictures_and_are_measured(photos, tmp_path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    result = run("detect", photos, "-o", tmp_path / "found")
    assert result.exit_code == 1 and "broken.png" in result.output
    found = json.loads((tmp_path / "found" / "detections.json").read_text())
    hands = found[str(photos / "a.png")]
    assert len(hands) == 2 and {hand["right"] > 0.5 for hand in hands} == {True, False}
    with Image.open(photos / "a.png") as photo, Image.open(tmp_path / "found" / "a_boxes.png") as drawn:
        assert drawn.size == photo.size
        width, height = photo.size
    x1, y1, x2, y2 = hands[0]["box"]
    row = ["hand", (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    (photos / "boxes.json").write_text(json.dumps({"a.png": [row]}))
    result = run("evaluate", "detection", photos, "--json")
    rows = json.loads(result.output)
    assert rows[0]["recall_50"] == 100 and rows[0]["precision_50"] == 50
    assert "do not exist" in str(run("detect", photos, "-o", tmp_path / "x", "--detector", tmp_path / "no").exception)


def test_where_attention_samples_is_drawn(photos, tmp_path) -> None:
    result = run("preview", "attention", photos / "a.png", "-o", tmp_path / "looks.png")
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "looks.png").size == (960, 960)  # two hands, each with and without
    Image.new("RGB", (60, 60)).save(tmp_path / "black.png")
    assert "no hand found" in str(
        run("preview", "attention", tmp_path / "black.png", "-o", tmp_path / "x.png").exception
    )


def test_the_preview_draws_a_sheet(tmp_path) -> None:
    assert run("preview", "synthetic", "-o", tmp_path / "sheet.png", "--count", 3).exit_code == 0
    assert Image.open(tmp_path / "sheet.png").size == (3 * 224, 224)


def test_a_missing_config_and_a_wrong_setting_are_named(tmp_path) -> None:
    assert "does not exist" in str(
        run("train", "tokenizer", "--config", tmp_path / "no.toml", "-o", tmp_path).exception
    )
    config = Path(__file__).parents[2] / "configs" / "tokenizer.toml"
    for setting, message in (
        ("tokenizer.widht=3", "unknown setting tokenizer.widht"),
        ("tokenizer.width=wide", "expected int"),
        ("tokenizer.width", "has no '='"),
        ("tokenizer.token_count=10", "token_count is 10"),
    ):
        assert message in str(run("train", "tokenizer", "--config", config, "-o", tmp_path, "--set", setting).exception)


def test_tables_and_json_come_out_of_evaluate() -> None:
    result = run("evaluate", "tokenizer", "--count", 50, "--json")
    assert result.exit_code == 0, result.output
    assert {"pa_mpjpe_mm", "pa_mpvpe_mm", "codes_used"} <= json.loads(result.stdout).keys()
    assert "pa_mpjpe_mm" in run("evaluate", "tokenizer", "--count", 50).output


def test_a_tokenizer_of_stage_one_is_measured(tmp_path) -> None:
    tokenizer = VqMano(TokenizerConfig(token_count=16, codebook_size=32, code_dim=8, width=16))
    save_weights(tmp_path / "own.safetensors", dict(tokenizer.state_dict()), {"tokenizer": to_dict(tokenizer.config)})
    result = run("evaluate", "tokenizer", "--count", "8", "--model", tmp_path / "own.safetensors", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["pa_mpjpe_mm"] > 1  # it has learned nothing


def test_half_precision_is_left_out_where_the_cpu_lacks_it(tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(
        "maskhand.data.feature_cache.cache_shards", lambda root, **settings: asked.append(settings["half"])
    )
    for fast in (True, False):
        monkeypatch.setattr("maskhand.training.precision.half_is_fast", lambda device, fast=fast: fast)
        result = run("data", "cache", "synthetic", "-o", tmp_path, "--shards", 1, "--half")
        assert result.exit_code == 0, result.output
        assert ("no bfloat16" in result.stderr) is not fast
    assert asked == [True, False]
