from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from maskhand.checkpoint import save_weights
from maskhand.cli.main import app
from maskhand.io.results import find_photos, output_names
from maskhand.config import to_dict
from maskhand.data.cached import CachedSamples
from maskhand.errors import InputError, MaskHandError
from maskhand.tokenizer.vq_mano import TokenizerConfig, VqMano

runner = CliRunner()


def run(*arguments: object):
    return runner.invoke(app, [str(a) for a in arguments])


@pytest.fixture
def photos(tmp_path, demo_image) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(demo_image).save(folder / "a.png")
    Image.fromarray(demo_image[:, :500]).convert("L").save(folder / "more" / "b.jpg")
    return folder


def test_the_demo_writes_picture_mesh_and_numbers(tmp_path) -> None:
    result = run("demo", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"demo.png", "demo.json", "demo_0.glb", "demo_1.glb"}


def test_folders_become_a_picture_a_json_and_meshes_each(photos, tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    out = tmp_path / "new" / "out"
    result = run("reconstruct", photos, "-o", out, "--format", "obj", "--steps", 2)
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} >= {"a.png", "a.json", "a_0.obj", "a_1.obj", "b.png", "b.json", "b_0.obj"}
    schema = json.loads((files("maskhand") / "assets" / "result.schema.json").read_text())
    record = json.loads((out / "a.json").read_text())
    jsonschema.validate(record, schema)
    assert {h["side"] for h in record["hands"]} == {"left", "right"} and record["steps"] == 2


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


def test_boxes_skip_detection(photos, tmp_path) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[220, 170, 430, 470]]}))
    result = run(
        "reconstruct",
        photos / "a.png",
        "-o",
        tmp_path / "o",
        "--boxes",
        tmp_path / "boxes.json",
        "--side",
        "right",
        "--format",
        "none",
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "o" / "a.json").read_text())
    assert len(record["hands"]) == 1 and record["hands"][0]["side"] == "right" and record["hands"][0]["mesh"] is None


def test_boxes_of_two_photos_of_one_name_are_refused(photos, tmp_path) -> None:
    (tmp_path / "b").mkdir()
    shutil.copy(photos / "a.png", tmp_path / "b" / "a.png")
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[220, 170, 430, 470]]}))
    result = run(
        "reconstruct",
        photos / "a.png",
        tmp_path / "b" / "a.png",
        "-o",
        tmp_path / "o",
        "--boxes",
        tmp_path / "boxes.json",
    )
    assert isinstance(result.exception, InputError) and "2 photos are called a.png" in str(result.exception)


def test_ones_own_files_are_never_written_over(photos) -> None:
    before = (photos / "a.png").read_bytes()
    result = run("reconstruct", photos / "a.png", "-o", photos, "--format", "none", "--steps", 1)
    assert isinstance(result.exception, MaskHandError) and "a.png is no result of maskhand" in str(result.exception)
    assert (photos / "a.png").read_bytes() == before
    own, notes = photos / "more" / "b.jpg", photos / "b.json"
    notes.write_text("{}")
    assert "b.json is no result" in str(run("reconstruct", own, "-o", photos).exception)
    notes.unlink()
    for _ in range(2):  # results beside photos, and once more over the first ones
        assert run("reconstruct", own, "-o", photos, "--format", "none", "--steps", 1).exit_code == 0
    mesh = photos / "b_0.glb"
    mesh.write_text("my own")
    assert "b_0.glb is no result" in str(run("reconstruct", own, "-o", photos, "--steps", 1).exception)
    assert mesh.read_text() == "my own"
    (photos / "demo.png").write_text("my own")
    assert "demo.png is no result" in str(run("demo", "-o", photos).exception)
    assert "are results" in str(run("reconstruct", photos / "b.png", "-o", photos).exception)
    assert "matches folders only" in str(run("reconstruct", photos.parent / "phot*", "-o", photos / "o").exception)


def test_a_run_that_was_stopped_goes_on(photos, tmp_path, monkeypatch) -> None:
    def full(path, picture):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("maskhand.rendering.contact_sheet.written_picture", full)
        assert run("reconstruct", photos / "a.png", "-o", tmp_path / "o", "--steps", 1).exit_code != 0
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"a.json.part", "a_0.glb", "a_1.glb"}
    assert run("reconstruct", photos / "a.png", "-o", tmp_path / "o", "--steps", 1, "--format", "obj").exit_code == 0
    assert {p.name for p in (tmp_path / "o").iterdir()} == {"a.json", "a.png", "a_0.obj", "a_1.obj"}


def test_results_of_another_run_are_no_photos(photos, tmp_path) -> None:
    for out in (photos / "o", tmp_path / "o2"):
        assert run("reconstruct", photos, "-o", out, "--format", "none", "--steps", 1).exit_code == 0
    assert {p.name for p in (tmp_path / "o2").glob("*.json")} == {p.name for p in (photos / "o").glob("*.json")}


def test_photos_that_cannot_be_read_are_counted(photos, tmp_path) -> None:
    for k in range(2):
        (photos / f"IMG_{k}.HEIC").write_bytes(b"x")
    result = run("reconstruct", photos, "-o", tmp_path / "o", "--format", "none", "--steps", 1)
    assert result.exit_code == 0 and "2 left out" in result.output


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are text")
def test_a_name_that_is_no_text_is_a_name_all_the_same(photos, tmp_path) -> None:
    odd = photos / os.fsdecode(b"M\xfcller.png")
    shutil.copy(photos / "a.png", odd)
    result = run("reconstruct", odd, "-o", tmp_path / "o", "--steps", 1)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "o" / odd.name).exists() and (tmp_path / "o" / odd.with_suffix(".json").name).exists()


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
    monkeypatch.setattr("maskhand.evaluation.synthetic.TEST_SHARD_ROWS", 4)
    result = run("evaluate", *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert ("figures of one look" in result.stderr) is ("large" in arguments)
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


def test_meshes_of_an_earlier_run_do_not_outlive_its_record(photos, tmp_path) -> None:
    (photos / "folder.jpg").mkdir()  # no photo, whatever its name
    for mesh, present in (("glb", {"a_0.glb", "a_1.glb"}), ("obj", {"a_0.obj", "a_1.obj"}), ("none", set())):
        assert run("reconstruct", photos, "-o", tmp_path / "o", "--format", mesh, "--steps", 1).exit_code == 0
        assert {p.name for p in (tmp_path / "o").glob("a*")} == {"a.png", "a.json"} | present


def test_one_bad_photo_stops_nothing_else_and_is_named(photos, tmp_path) -> None:
    (photos / "bad.jpg").write_bytes(b"not an image")
    result = run("reconstruct", photos, "-o", tmp_path / "o")
    assert result.exit_code == 1
    assert (tmp_path / "o" / "a.json").exists() and not (tmp_path / "o" / "bad.json").exists()
    assert "bad.jpg" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg", "-o", "OUT"], "nothing.jpg does not exist"),
        (["*.nothing", "-o", "OUT"], "does not exist"),
        (["EMPTY", "-o", "OUT"], "holds no photo"),
        (["A", "-o", "OUT", "--steps", "0"], "steps is 0"),
        (["A", "-o", "OUT", "--focal", "-3"], "positive number of pixels"),
        (["A", "-o", "OUT", "--model", "huge"], "no weights named 'huge'"),
        (["A", "-o", "OUT", "--boxes", "none.json"], "none.json does not exist"),
        (["A", "-o", "A"], "cannot be made"),
    ],
)
def test_mistakes_are_said_in_one_sentence(photos, tmp_path, arguments, message) -> None:
    (tmp_path / "empty").mkdir()
    names = {"OUT": tmp_path / "o", "EMPTY": tmp_path / "empty", "A": photos / "a.png"}
    result = run("reconstruct", *[names.get(a, a) for a in arguments])
    assert result.exit_code != 0
    assert isinstance(result.exception, MaskHandError), repr(result.exception)
    assert message in str(result.exception)


def test_mistakes_reach_the_shell_without_a_traceback(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maskhand.cli.main", "reconstruct", "nothing.jpg", "-o", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "nothing.jpg does not exist" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["preview", "synthetic", "-o", "FOLDER"],
        ["train", "average", "a", "b", "-o", "FOLDER"],
        ["train", "ship", "a", "-o", "FOLDER", "--cache", "c"],
    ],
)
def test_a_folder_in_a_files_place_is_named_before_the_work(tmp_path, arguments) -> None:
    folder = tmp_path / "folder.png"
    folder.mkdir()
    result = run(*[folder if a == "FOLDER" else a for a in arguments])
    assert result.exit_code != 0 and "folder.png" in result.output + str(result.exception)
    assert isinstance(result.exception, (MaskHandError, SystemExit)), repr(result.exception)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, maskhand.cli.main; sys.exit('torch' in sys.modules or 'cv2' in sys.modules or 'numba' in sys.modules)"
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
        ["preview", "synthetic"],
        ["data", "cache", "photos"],
    ],
)
def test_every_command_explains_itself(command) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0 and len(result.output) > 200


def test_where_the_model_looks_is_drawn(photos, tmp_path) -> None:
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
    config = Path(__file__).parents[1] / "configs" / "tokenizer.toml"
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


def test_photos_are_found_once_each_and_named_apart(photos) -> None:
    found = find_photos([str(photos), str(photos / "a.png"), str(photos / "**" / "*.jpg")])
    assert [p.name for p in found] == ["a.png", "b.jpg"]
    assert output_names([Path("x/a.png"), Path("x/a.jpg"), Path("y/a.jpg"), Path("b.jpg")]) == [
        "a_png",
        "a_jpg",
        "a_jpg_2",
        "b",
    ]
    assert output_names([Path("x/IMG_1.JPG"), Path("y/img_1.jpg")]) == ["IMG_1_JPG", "img_1_jpg_2"]


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
