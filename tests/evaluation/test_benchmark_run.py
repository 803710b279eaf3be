"""Benchmarks end to end: models, reports, comparisons."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tests import miniature
from tests.evaluation_data import COUNT, shifted
from typer.testing import CliRunner

from maskhand.cli.main import app
from maskhand.errors import InputError
from maskhand.evaluation.benchmark import measure, protocol_of, read_truth
from maskhand.evaluation.benchmark_run import centred, masked, predict
from maskhand.evaluation.predictions import Predictions, load_predictions, save_predictions


def test_a_report_stands_beside_the_papers_rows(folders, tmp_path) -> None:
    truth = read_truth(protocol_of("freihand"), folders["freihand"], "evaluation")
    save_predictions(tmp_path, Predictions(truth.joints + 0.001, truth.vertices), protocol_of("freihand"))
    arguments = [
        "evaluate",
        "freihand",
        str(folders["freihand"]),
        "--predictions",
        str(tmp_path / "pred.zip"),
        "-o",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "report.md").read_text()
    assert (
        "| MaskHand (the paper) | 5.50 | 5.40 | 0.801 | 0.991 |" in text
        and "10 samples were measured; the benchmark has 3960" in text
    )
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["figures"]["F@5"]["value"] == 1 and content["samples"] == COUNT and content["hand_model"] == "mano"


def test_a_limit_and_a_masked_hand_are_said_in_the_report(folders, tmp_path) -> None:
    arguments = ["evaluate", "hint", str(folders["hint"]), "--split", "visor", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, [*arguments, "--limit", "2", "--steps", "1", "--mask-share", "0.8"])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["mask_share"] == 0.8 and any("only the first 2 samples" in note for note in content["notes"])
    text = (tmp_path / "report.md").read_text()
    assert "80% of the hand masked" in text and "| MaskHand (the paper) | 8.20 | 25.00 | 41.90 |" in text


def test_the_principal_point_becomes_the_middle_of_the_image() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    for principal in ((12.0, 13.0), (17.0, 8.0), (15.0, 10.0)):
        padded, shift = centred(image, np.array(principal))
        np.testing.assert_allclose(np.array(principal) + shift, np.array(padded.shape[1::-1]) / 2, atol=0.5)
        x, y = shift.astype(int)
        np.testing.assert_array_equal(padded[y : y + 20, x : x + 30], image)


def test_an_output_that_cannot_be_written_is_said_before_the_work(folders, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    for work in ("maskhand.evaluation.benchmark.read_truth", "maskhand.data.check.check"):
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("it has begun"))
    for arguments in (
        ["evaluate", "freihand", str(folders["freihand"]), "-o", str(tmp_path / "file")],
        ["evaluate", "compare", "freihand", str(folders["freihand"]), "a", "b", "-o", str(tmp_path / "no" / "x.png")],
        ["data", "check", "freihand", str(folders["freihand"]), "-o", str(tmp_path / "x")],
    ):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, InputError) and "cannot be" in str(result.exception), result.output


def test_options_of_the_model_are_refused_where_a_file_is_scored(folders, tmp_path) -> None:
    arguments = ["evaluate", "freihand", str(folders["freihand"]), "-o", str(tmp_path), "--predictions", "x.json"]
    for option in (
        ["--steps", "1"],
        ["--model", "large"],
        ["--keypoints", "truth"],
        ["--temperature", "1"],
        ["--no-refine"],
    ):
        result = CliRunner().invoke(app, [*arguments, *option])
        assert isinstance(result.exception, InputError) and "scores a file" in str(result.exception)


def test_a_hand_outside_its_image_has_an_answer_all_the_same(folders, predictor) -> None:
    truth = read_truth(protocol_of("freihand"), folders["freihand"], "evaluation", limit=1)
    (sample,) = truth.samples
    away = replace(sample, box=np.array([-500.0, -500.0, -400.0, -400.0]))
    found, _ = predict(predictor, [away], protocol_of("freihand"), steps=1)
    assert found.joints.shape == (1, 21, 3) and np.isfinite(found.joints).all()


def test_our_model_runs_a_benchmark_and_says_its_hand_is_another(folders, tmp_path) -> None:
    arguments = ["evaluate", "freihand", str(folders["freihand"]), "-o", str(tmp_path), "--limit", "2", "--steps", "1"]
    result = CliRunner().invoke(app, [*arguments, "--keypoints", "truth"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "report.md").read_text()
    assert "Not comparable" in text and "no MPVPE, F-score" in text and "(AITI)" in text
    truth = read_truth(protocol_of("freihand"), folders["freihand"], "evaluation", limit=2)
    found, _ = load_predictions(tmp_path / "pred.json", protocol_of("freihand"), truth.names)
    assert measure(protocol_of("freihand"), truth, found, draws=10)["PA-MPJPE"].value < 40


def test_the_networks_own_answer_and_drawn_codes_are_others(folders, tmp_path) -> None:
    arguments = ["evaluate", "freihand", str(folders["freihand"]), "--limit", "1", "--steps", "2"]
    answers = {}
    for name, options in {
        "fitted": [],
        "bare": ["--no-refine"],
        "drawn": ["--no-refine", "--temperature", "1", "--top-k", "100"],
        "again": ["--no-refine", "--temperature", "1", "--top-k", "100"],
    }.items():
        result = CliRunner().invoke(app, [*arguments, *options, "-o", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        answers[name] = json.loads((tmp_path / name / "pred.json").read_text())[0][0]
    assert "drawn at temperature 1 among the 100 likeliest" in (tmp_path / "drawn" / "report.md").read_text()
    assert answers["drawn"] == answers["again"]
    assert len({str(answers[name]) for name in ("fitted", "bare", "drawn")}) == 3
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "x"), "--top-k", "5"])
    assert isinstance(result.exception, InputError) and "add --temperature" in str(result.exception)


def test_fingertips_are_the_benchmarks_vertices_on_mano(folders, predictor, monkeypatch) -> None:
    protocol = protocol_of("ho3dv3")
    truth = read_truth(protocol_of("freihand"), folders["freihand"], "evaluation", limit=1)
    vertices, joints = np.random.default_rng(0).normal(size=(2, 778, 3)) + [0, 0, 5]
    hand = SimpleNamespace(vertices=vertices, joints=joints[:21], focal_px=500.0)
    monkeypatch.setattr(predictor, "reconstruct", lambda *_, **__: [hand])
    (found,) = predict(predictor, truth.samples, protocol)[0].joints
    np.testing.assert_array_equal(found[[4, 8, 12, 16, 20]], vertices[[744, 320, 443, 554, 671]])
    np.testing.assert_array_equal(found[:4], joints[:4])


def test_comparison_finds_the_better_system_and_draws_the_worst(folders, tmp_path) -> None:
    protocol = protocol_of("freihand")
    truth = read_truth(protocol, folders["freihand"], "evaluation")
    noise = shifted(truth.joints.shape, 1.0)
    lengths = np.linspace(0.001, 0.02, COUNT)[:, None, None]
    save_predictions(tmp_path / "a", Predictions(truth.joints + lengths * noise, truth.vertices), protocol)
    save_predictions(tmp_path / "b", Predictions(truth.joints + 0.004 * noise, truth.vertices), protocol)
    picture = tmp_path / "worst.png"
    arguments = ["evaluate", "compare", "freihand", str(folders["freihand"]), str(tmp_path / "a" / "pred.json")]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "b" / "pred.zip"), "-o", str(picture), "--worst", "4"])
    assert result.exit_code == 0, result.output
    assert "the first is better on 20.0%" in result.output
    listed = [line.split()[-1] for line in result.output.splitlines() if "evaluation/" in line]
    assert set(listed) == {f"evaluation/{k:08d}" for k in (9, 8, 7, 6)}
    assert cv2.imread(str(picture)).shape == (256, 1024, 3)


def test_masking_hides_the_share_asked_for_inside_the_box() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    for share in (0.8, 0.9):
        out = masked(image, np.array([40.0, 40, 120, 120]), share, "a")
        hidden = (out == 128).all(-1)
        assert (
            hidden[40:120, 40:120].mean() == pytest.approx(share, abs=0.01)
            and hidden.sum() == hidden[40:120, 40:120].sum()
        )
    np.testing.assert_array_equal(
        masked(image, np.array([40.0, 40, 120, 120]), 0.5, "b"), masked(image, np.array([40.0, 40, 120, 120]), 0.5, "b")
    )


def test_pose_study_with_openpose_files(folders, tmp_path) -> None:
    truth = read_truth(protocol_of("freihand"), folders["freihand"], "evaluation", limit=2)
    for sample in truth.samples[:1]:
        points = sample.keypoints_2d
        people = [{"hand_left_keypoints_2d": [0.0] * 63, "hand_right_keypoints_2d": points.ravel().tolist()}]
        miniature.save_json(tmp_path / f"{sample.image.stem}_keypoints.json", {"version": 1.3, "people": people})
    miniature.save_json(tmp_path / f"{truth.samples[1].image.stem}_keypoints.json", {"version": 1.3, "people": []})
    arguments = [
        "evaluate",
        "pose2d",
        "freihand",
        str(folders["freihand"]),
        "--openpose",
        str(tmp_path),
        "--noise",
        "0.1",
    ]
    result = CliRunner().invoke(app, [*arguments, "--limit", "2", "--steps", "1"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "1 samples had no 2D pose there" in result.output
    assert all(row in result.output for row in ("built-in", "truth", "OpenPose", "noise 0.1"))


def test_bad_openpose_files_are_named(tmp_path) -> None:
    from maskhand.detection.openpose_json import read_openpose

    (tmp_path / "x.json").write_text('{"persons": []}')
    with pytest.raises(InputError, match=r"x\.json is no OpenPose JSON file"):
        read_openpose(tmp_path / "x.json")
