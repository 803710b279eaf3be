"""The benchmarks' figures: known errors give the numbers they must."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from tests.evaluation_data import COUNT, SOLID, shifted
from typer.testing import CliRunner

from maskhand.cli.main import app
from maskhand.errors import InputError
from maskhand.evaluation.benchmark import evaluate, measure, protocol_of, read_truth
from maskhand.evaluation.predictions import Predictions, load_predictions, save_predictions
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D


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
    middle.
    """
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
