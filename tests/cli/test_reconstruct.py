"""Photos through the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import run

from maskhand.cli.photo_run import PHOTOS_AT_ONCE
from maskhand.errors import InputError, MaskHandError
from maskhand.io.results import find_photos, output_names
from maskhand.predictor import Predictor


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
        patched.setattr("maskhand.io.results.written_picture", full)
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


def test_a_photo_on_which_reconstruction_fails_stops_no_other(photos, tmp_path, monkeypatch) -> None:
    batch = Predictor.batch

    def failing(self, images, **how):
        if any(photo.pixels.shape[1] < 600 for photo in images):
            raise RuntimeError("out of luck")
        return batch(self, images, **how)

    monkeypatch.setattr(Predictor, "batch", failing)
    result = run("reconstruct", photos, "-o", tmp_path / "o", "--format", "none")
    assert result.exit_code == 1 and "out of luck" in result.output
    assert (tmp_path / "o" / "a.json").exists() and not (tmp_path / "o" / "b.json").exists()


def test_a_folder_of_more_photos_than_one_batch_comes_out_whole_and_in_order(photos, tmp_path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    assert PHOTOS_AT_ONCE < 6
    for k in range(6):
        shutil.copy(photos / "a.png", many / f"{k}.png")
    (many / "1.png").write_bytes(b"not an image")
    (many / "5.png").write_bytes(b"")
    result = run("reconstruct", many, "-o", tmp_path / "o", "--format", "none", "--threads", 1)
    assert result.exit_code == 1
    assert result.output.index("1.png") < result.output.index("5.png")
    records = [json.loads((tmp_path / "o" / f"{k}.json").read_text()) for k in (0, 2, 3, 4)]
    first, *others = ([hand["joints"] for hand in record["hands"]] for record in records)
    assert len(first) == 2
    for joints in others:  # of whatever batch
        np.testing.assert_allclose(joints, first, atol=2e-5)
    assert not (tmp_path / "o" / "1.json").exists()
