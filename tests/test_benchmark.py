"""The benchmarks end to end, through files: known errors give the figures they must."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tests import miniature
from typer.testing import CliRunner

from maskhand.cli.main import app
from maskhand.errors import InputError
from maskhand.evaluation.benchmark import centred, evaluate, masked, measure, predict, protocol_of, read_truth
from maskhand.evaluation.predictions import Predictions, load_predictions, save_predictions
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D

COUNT = 10
SOLID = {
    "freihand": ("evaluation", miniature.freihand, miniature.RIGHT),
    "ho3dv2": ("evaluation", miniature.ho3d, miniature.RIGHT),
    "ho3dv3": ("evaluation", lambda root, s: miniature.ho3d(root, s, suffix="jpg"), miniature.RIGHT),
    "dexycb": ("s0_test", miniature.dexycb, miniature.BOTH),
}


@pytest.fixture(scope="module")
def folders(hand_model, tmp_path_factory):
    """Every benchmark in miniature."""
    made = {}
    for name, (_, write, sides) in SOLID.items():
        made[name] = tmp_path_factory.mktemp(name)
        write(made[name], miniature.draw_scenes(hand_model, COUNT, sides))
    made["hint"] = tmp_path_factory.mktemp("hint")
    for folder in ("TEST_newdays_img", "TEST_epick_img", "TEST_ego4d_img"):
        miniature.hint(made["hint"], miniature.draw_scenes(hand_model, COUNT, miniature.BOTH), folder)
    return made


def shifted(shape: tuple[int, ...], length: float, seed: int = 0) -> np.ndarray:
    """Steps of exactly `length` in random directions."""
    steps = np.random.default_rng(seed).normal(size=shape)
    return length * steps / np.linalg.norm(steps, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", SOLID)
def test_five_millimetres_of_noise_give_five_millimetres(name, folders, tmp_path) -> None:
    protocol, split = protocol_of(name), SOLID[name][0]
    truth = read_truth(protocol, folders[name], split)
    joints = truth.joints + shifted(truth.joints.shape, 0.005)
    vertices = None if truth.vertices is None else truth.vertices + shifted(truth.vertices.shape, 0.005)
    for path in save_predictions(tmp_path, Predictions(joints, vertices), protocol):
        found, warnings = load_predictions(path, protocol, truth.names)
        figures = measure(protocol, truth, found, draws=100)
        assert not warnings
        assert figures["camera MPJPE"].value == pytest.approx(5.0, abs=1e-3)
        assert figures["camera MPJPE"].low == pytest.approx(5.0, abs=1e-3)
        # Alignment explains 7 of 63 degrees of freedom: the root mean square shrinks by sqrt(1 - 7 / 63), the mean
        # about as much.
        assert figures["PA-MPJPE"].value == pytest.approx(5.0 * np.sqrt(1 - 7 / 63), abs=0.2)
        # About the wrist, 20 joints carry two independent steps, in the mean 4 / 3 of one long; the wrist carries none.
        assert figures["MPJPE"].value == pytest.approx(5.0 * 4 / 3 * 20 / 21, rel=0.06)
        assert figures["AUC_J"].value == pytest.approx(1 - figures["PA-MPJPE"].value / 50, abs=0.01)
        if name != "dexycb":
            assert figures["camera MPVPE"].value == pytest.approx(5.0, abs=1e-3)
            spread = 1000 * (truth.vertices - truth.vertices.mean(1, keepdims=True)).std(1).mean() * np.sqrt(3)
            # Alignment also scales noisy points down a little, which takes a share of the error away (of its root mean
            # square;
            # the mean lies about 0.01 lower, and ten hands scatter by 0.01).
            assert figures["PA-MPVPE"].value == pytest.approx(5.0 * spread / np.hypot(spread, 5), abs=0.05)
            assert figures["F@15"].value == 1 and 0 < figures["F@5"].value < 1
        else:
            assert "PA-MPVPE" not in figures


@pytest.mark.parametrize("name", SOLID)
def test_a_similarity_is_free_after_alignment_and_truth_is_perfect(name, folders) -> None:
    protocol = protocol_of(name)
    truth = read_truth(protocol, folders[name], SOLID[name][0])
    turn = cv2.Rodrigues(np.array([0.2, 0.5, -0.3]))[0]
    figures = measure(protocol, truth, Predictions(1.2 * truth.joints @ turn + 0.1), draws=10)
    assert figures["PA-MPJPE"].value < 1e-6 and figures["MPJPE"].value > 5
    grown = measure(protocol, truth, Predictions(1.2 * truth.joints + 0.1), draws=10)
    assert grown["ST-MPJPE"].value < 1e-6 < 1 < grown["MPJPE"].value


def test_the_zero_predictor_of_ho3d(folders, tmp_path) -> None:
    """HO3D publishes 56.87 cm and, aligned, 5.19 cm for all zeros: the distance to the camera, and to the hand's own
    middle."""
    protocol = protocol_of("ho3dv2")
    truth = read_truth(protocol, folders["ho3dv2"], "evaluation")
    zeros = Predictions(np.zeros_like(truth.joints), np.zeros_like(truth.vertices))
    save_predictions(tmp_path, zeros, protocol)
    found, _ = load_predictions(tmp_path / "pred.zip", protocol, truth.names)
    figures = measure(protocol, truth, found, draws=10)
    far = 1000 * np.linalg.norm(truth.joints, axis=-1).mean()
    wide = 1000 * np.linalg.norm(truth.joints - truth.joints.mean(1, keepdims=True), axis=-1).mean()
    assert figures["camera MPJPE"].value == pytest.approx(far) and 400 < far < 600
    assert figures["PA-MPJPE"].value == pytest.approx(wide) and 30 < wide < 70


@pytest.mark.parametrize("split", ["newdays", "visor", "ego4d"])
def test_hint_counts_keypoints_within_shares_of_the_box(split, folders, tmp_path) -> None:
    protocol = protocol_of("hint")
    truth = read_truth(protocol, folders["hint"], split)
    step = shifted(truth.joints.shape, 1.0)
    # Visible keypoints off by 0.08 of the box, hidden ones by 0.12.
    off = np.where(truth.visible, 0.08, 0.12) * truth.size[:, None]
    save_predictions(tmp_path, Predictions(truth.joints + off[..., None] * step), protocol)
    found, _ = load_predictions(tmp_path / "pred.zip", protocol, truth.names)
    report = evaluate(protocol, truth, found, split=split, system="noise", hand_model="mano", draws=50)
    values = {key: figure.value for key, figure in report.figures.items()}
    assert values["PCK@.05 all"] == 0 and values["PCK@.15 all"] == 100
    assert values["PCK@.1 visible"] == 100 and values["PCK@.1 occluded"] == 0
    assert values["PCK@.1 all"] == pytest.approx(100 * 16 / 21)  # 5 of 21 are hidden, always the same ones


def test_files_are_in_the_official_axes_and_order(folders, tmp_path) -> None:
    truth = read_truth(protocol_of("ho3dv2"), folders["ho3dv2"], "evaluation")
    save_predictions(tmp_path, Predictions(truth.joints, truth.vertices), protocol_of("ho3dv2"))
    written = json.loads((tmp_path / "pred.json").read_text())
    published = [json.loads((folders["ho3dv2"] / f"evaluation_{what}.json").read_text()) for what in ("xyz", "verts")]
    np.testing.assert_allclose(written[0], published[0], atol=1e-6)
    np.testing.assert_allclose(written[1], published[1], atol=1e-6)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda j, v: [j[:-1], v], f"{COUNT - 1} joints, the benchmark {COUNT} samples"),
        (lambda j, v: [j], r"list of 2: \[xyz, verts\]"),
        (lambda j, v: [[*j[:3], [[0, 0, 0]], *j[4:]], v], "sample evaluation/00000003: joints have shape"),
        (lambda j, v: [[[[float("nan")] * 3] * 21, *j[1:]], v], "sample evaluation/00000000: joints hold NaN"),
        (
            lambda j, v: [[[h[k] for k in OPENPOSE_TO_HO3D] for h in j], v],
            "look like they are in MANO's and HO3D's order",
        ),
        (lambda j, v: "nonsense", "should hold a list"),
        (lambda j, v: [[[*j[0][:-1], [0, 0]], *j[1:]], v], "sample evaluation/00000000: joints are not"),
        (lambda j, v: [[[["x", 0, 0]] * 21, *j[1:]], v], "sample evaluation/00000000: joints are not"),
        (lambda j, v: [(1000 * np.array(j)).tolist(), v], "other unit"),
    ],
)
def test_damaged_submissions_are_reported_never_scored(how, said, folders, tmp_path) -> None:
    protocol = protocol_of("freihand")
    truth = read_truth(protocol, folders["freihand"], "evaluation")
    (tmp_path / "pred.json").write_text(json.dumps(how(truth.joints.tolist(), truth.vertices.tolist())))
    with pytest.raises(InputError, match=said):
        load_predictions(tmp_path / "pred.json", protocol, truth.names)
    result = CliRunner().invoke(
        app,
        [
            "evaluate",
            "freihand",
            str(folders["freihand"]),
            "--predictions",
            str(tmp_path / "pred.json"),
            "-o",
            str(tmp_path),
        ],
    )
    assert result.exit_code != 0 and not (tmp_path / "report.md").exists()


def test_openpose_order_in_a_file_that_should_be_in_ho3ds_is_noticed(folders, tmp_path) -> None:
    protocol = protocol_of("ho3dv2")
    truth = read_truth(protocol, folders["ho3dv2"], "evaluation")
    (tmp_path / "pred.json").write_text(json.dumps([(truth.joints * [1, -1, -1]).tolist(), []]))
    with pytest.raises(InputError, match="OpenPose's, taken for MANO's"):
        load_predictions(tmp_path / "pred.json", protocol, truth.names)


def test_a_cut_file_is_reported(tmp_path) -> None:
    (tmp_path / "pred.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"pred\.zip cannot be read as a submission"):
        load_predictions(tmp_path / "pred.zip", protocol_of("freihand"), [])
    with pytest.raises(InputError, match="does not exist"):
        load_predictions(tmp_path / "none.json", protocol_of("freihand"), [])


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
