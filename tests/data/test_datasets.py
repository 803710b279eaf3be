"""Readers: a miniature of every format is written in its original layout, read back, and its keypoints lie on the drawn
hand.
"""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from tests import miniature
from typer.testing import CliRunner

from maskhand.cli.main import app
from maskhand.data.check import check
from maskhand.data.datasets import dataset, dataset_names
from maskhand.data.datasets.dexycb import s0_split
from maskhand.data.sample import TIP_FIRST, WRIST_LAST, likely_order, problems, strangeness, to_keypoints
from maskhand.errors import InputError
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D


@pytest.fixture(scope="module")
def scenes(hand_model) -> dict[tuple[str, ...], list[miniature.Scene]]:
    return {sides: miniature.draw_scenes(hand_model, 4, sides) for sides in (miniature.RIGHT, miniature.BOTH)}


def written(tmp_path, scenes, form: str):
    name, split, write, sides = miniature.FORMATS[form]
    own = scenes[sides]
    write(tmp_path, own)
    return dataset(name), split, own


def test_every_reader_has_a_miniature() -> None:
    assert {entry[0] for entry in miniature.FORMATS.values()} <= set(dataset_names())


@pytest.mark.parametrize("form", miniature.FORMATS)
def test_keypoints_land_on_the_drawn_hand(form, tmp_path, scenes) -> None:
    source, split, own = written(tmp_path, scenes, form)
    found = list(source.checked(tmp_path, split))
    assert len(found) == len(own) and len({s.name for s in found}) == len(own)
    remaining = list(own)
    for sample in found:
        pixels = sample.pixels()
        assert pixels.shape == (240, 320, 3)
        scene = min(remaining, key=lambda s: np.abs(s.image.astype(int) - pixels).mean())
        remaining.remove(scene)
        assert sample.side == scene.side
        assert (sample.keypoints_2d[:, 2] > 0).all()
        flat = miniature.distorted(scene.points) if source.name == "mtc" else scene.flat
        np.testing.assert_allclose(sample.keypoints_2d[:, :2], flat, atol=0.05)
        near = cv2.dilate(scene.mask.astype(np.uint8), np.ones((5, 5), np.uint8))
        x, y = sample.keypoints_2d[:, :2].astype(int).T
        assert near[y, x].all()
        if sample.keypoints_3d is not None:
            shift = 0 if sample.intrinsic is not None else scene.points[0]
            np.testing.assert_allclose(sample.keypoints_3d[:, :3] + shift, scene.points, atol=1e-5)
        if sample.vertices is not None:
            np.testing.assert_allclose(sample.vertices, scene.vertices, atol=1e-6)
        if sample.mano_pose is not None:
            np.testing.assert_allclose(sample.mano_pose, scene.pose, atol=1e-6)
            np.testing.assert_allclose(sample.mano_shape, scene.shape, atol=1e-6)
        np.testing.assert_allclose(sample.hand_box, scene.box, atol=2 if source.name == "mtc" else 0.05)


@pytest.mark.parametrize("form", miniature.FORMATS)
def test_a_missing_file_is_named_with_where_to_get_it(form, tmp_path, scenes) -> None:
    source, split, _ = written(tmp_path, scenes, form)
    victims = sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.suffix in (".jpg", ".png", ".tar"))
    victim = (
        victims[-1]
        if form != "dexycb"
        else next(p for p in reversed(victims) if "135009" in str(p) or "135004" in str(p))
    )
    victim.unlink()
    with pytest.raises(InputError) as error:
        list(source.checked(tmp_path, split))
    assert (
        source.url in str(error.value)
        and source.licence in str(error.value)
        and victim.name.split("000")[0] in str(error.value)
    )


def test_hidden_keypoints_are_told_apart(tmp_path, scenes) -> None:
    source, split, _ = written(tmp_path, scenes, "hint")
    visible = next(iter(source.samples(tmp_path, split))).visible
    assert (~visible).sum() == 5


def test_setup_s0_of_dexycb() -> None:
    parts = [s0_split(subject, sequence) for subject in range(10) for sequence in range(100)]
    assert (parts.count("train"), parts.count("val"), parts.count("test")) == (800, 40, 160)


def test_the_mean_bones_are_the_free_hands(hand_model) -> None:
    flat = hand_model.keypoints(torch.eye(3).expand(1, 16, 3, 3), torch.zeros(1, 10)).numpy()
    assert strangeness(flat) < 0.002


@pytest.mark.parametrize(
    ("order", "name"), [(OPENPOSE_TO_HO3D, "MANO's"), (TIP_FIRST, "RHD's"), (WRIST_LAST, "InterHand2.6M's")]
)
def test_another_joint_order_is_noticed(order, name, scenes) -> None:
    points = np.stack([scene.points for scene in scenes[miniature.BOTH]])
    assert likely_order(points) is None and all(likely_order(p) is None for p in points)
    swapped = points[:, list(order)]
    assert name in likely_order(swapped)
    assert name in likely_order(to_keypoints(points, order))  # the other mistake: reordered though it was right
    np.testing.assert_array_equal(to_keypoints(swapped, order), points)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / "evaluation_xyz.json").write_text("[[1, 2"), "cut short"),
        (
            lambda root: miniature.save_json(root / "evaluation_K.json", [miniature.INTRINSIC.tolist()]),
            "K has 1 entries",
        ),
        (
            lambda root: edit(root, "xyz", lambda xyz: xyz[2][5].__setitem__(1, float("nan"))),
            "evaluation/00000002.*NaN",
        ),
        (lambda root: edit(root, "xyz", lambda xyz: xyz[1].pop()), "evaluation_xyz.json entry 1"),
        (
            lambda root: edit(root, "xyz", lambda xyz: xyz.__setitem__(3, [xyz[3][k] for k in OPENPOSE_TO_HO3D])),
            "evaluation/00000003.*MANO's",
        ),
        (
            lambda root: edit(root, "xyz", lambda xyz: xyz.__setitem__(0, (1000 * np.array(xyz[0])).tolist())),
            "evaluation/00000000.*other unit",
        ),
    ],
)
def test_damaged_labels_are_reported_with_file_or_sample(damage, said, tmp_path, scenes) -> None:
    source, split, _ = written(tmp_path, scenes, "freihand")
    damage(tmp_path)
    with pytest.raises(InputError, match=said):
        list(source.checked(tmp_path, split))


def edit(root, what, change) -> None:
    path = root / f"evaluation_{what}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_truncated_image_is_reported(tmp_path, scenes) -> None:
    source, split, _ = written(tmp_path, scenes, "freihand")
    image = tmp_path / "evaluation" / "rgb" / "00000001.jpg"
    image.write_bytes(image.read_bytes()[:900])
    sample = list(source.checked(tmp_path, split))[1]
    with pytest.raises(InputError, match=r"sample evaluation/00000001: .*00000001\.jpg cannot be read"):
        sample.pixels()
    found = check(source, tmp_path, split)
    assert len(found.wrong) == 1 and "00000001.jpg" in found.wrong[0] and found.samples == 4


class Evil:
    def __reduce__(self):
        return print, ("a pickle ran code",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, scenes, capsys) -> None:
    source, split, _ = written(tmp_path, scenes, "ho3dv2")
    path = next((tmp_path / "evaluation").rglob("*.pkl"))
    path.write_bytes(pickle.dumps({"camMat": Evil()}))
    with pytest.raises(InputError, match=f"{path.name}.*refused"):
        list(source.samples(tmp_path, split))
    assert "ran code" not in capsys.readouterr().out


@pytest.mark.parametrize("form", ["interhand", "h2o3d"])
def test_joints_that_are_not_annotated_do_not_spoil_the_others(form, tmp_path, scenes) -> None:
    source, split, _ = written(tmp_path, scenes, form)
    if form == "interhand":
        path = tmp_path / "annotations" / "test" / "InterHand2.6M_test_data.json"
        content = json.loads(path.read_text())
        for entry in content["annotations"]:
            first = 0 if entry["hand_type"] == "right" else 21
            entry["joint_valid"][first] = [0]
        miniature.save_json(path, content)
        path = tmp_path / "annotations" / "test" / "InterHand2.6M_test_joint_3d.json"
        content = json.loads(path.read_text())
        for frame in content["0"].values():
            frame["world_coord"][0] = frame["world_coord"][21] = [0, 0, 0]
        miniature.save_json(path, content)
    else:
        for path in tmp_path.rglob("*.pkl"):
            meta = pickle.loads(path.read_bytes())
            for side in ("Right", "Left"):
                meta[f"jointValid{side}"][16] = 0
                meta[f"{side.lower()}HandJoints3D"][16] = 0
            miniature.save_pickle(path, meta)
    for sample in source.checked(tmp_path, split):
        assert (sample.keypoints_2d[:, 2] == 0).sum() == 1 and sample.keypoints_2d[4, 2] == 0
        assert np.isfinite(sample.keypoints_2d).all()


@pytest.mark.parametrize(
    ("form", "damage"),
    [
        ("coco-wholebody", lambda root: miniature.save_json(next(root.rglob("*v1.0.json")), {})),
        ("mpii-nzsl", lambda root: miniature.save_json(next(root.rglob("*.json")), {"hand_pts": [[1, 2, 1]] * 21})),
        ("hint", lambda root: miniature.save_json(next(root.rglob("*.json")), [{"bbox": []}])),
        ("freihand", lambda root: miniature.save_json(root / "evaluation_mano.json", [[[0.0] * 61]])),
        ("ho3dv2", lambda root: miniature.save_pickle(next(root.rglob("*.pkl")), [1, 2])),
        ("rhd", lambda root: miniature.save_pickle(next(root.rglob("*.pickle")), [1, 2])),
        ("dexycb", lambda root: halve(next(root.rglob("20200820_135004/*/labels_000000.npz")))),
        ("hamer-shards", lambda root: halve(next(root.rglob("*.tar")))),
        ("hamer-eval", lambda root: halve(next(root.rglob("*.npz")))),
        ("mtc", lambda root: miniature.save_pickle(root / "camera_data.pkl", {})),
    ],
)
def test_files_not_as_published_give_an_error_not_a_traceback(form, damage, tmp_path, scenes) -> None:
    source, split, _ = written(tmp_path, scenes, form)
    damage(tmp_path)
    with pytest.raises(InputError):
        list(source.checked(tmp_path, split))


def halve(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_an_empty_data_set_does_not_pass(tmp_path) -> None:
    (tmp_path / "manual_train").mkdir()
    assert "holds no sample" in check(dataset("mpii-nzsl"), tmp_path, "train").wrong[0]


def test_a_hand_of_one_known_keypoint_is_a_problem_not_a_crash(tmp_path, scenes) -> None:
    source, split, own = written(tmp_path, scenes, "mpii-nzsl")
    path = sorted((tmp_path / "manual_test").glob("*.json"))[0]
    points = np.c_[own[0].flat, np.zeros(21)]
    points[3, 2] = 1
    miniature.save_json(path, {"hand_pts": points.tolist(), "is_left": 0})
    assert "all that the known keypoints span" in check(source, tmp_path, split).wrong[0]


def test_unknown_names_say_what_there_is(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no data set named 'freehand'; one of .*freihand"):
        dataset("freehand")
    with pytest.raises(InputError, match="no split 'test'; one of training, evaluation"):
        list(dataset("freihand").samples(tmp_path, "test"))


def test_check_draws_a_contact_sheet_and_says_what_is_wrong(tmp_path, scenes) -> None:
    _, split, _ = written(tmp_path / "data", scenes, "rhd")
    sheet = tmp_path / "sheet.png"
    arguments = ["data", "check", "rhd", str(tmp_path / "data"), "--split", split, "-o", str(sheet)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "4 hands in 4 images, 2 left, 4 with 3D" in result.output and "published split has 2728" in result.output
    assert cv2.imread(str(sheet)).shape == (160, 1280, 3)
    next((tmp_path / "data").rglob("00002.png")).write_bytes(b"not a picture")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and "00002" in result.output


def test_a_hand_outside_its_image_is_noticed(tmp_path, scenes) -> None:
    source, split, own = written(tmp_path, scenes, "mpii-nzsl")
    path = sorted((tmp_path / "manual_test").glob("*.json"))[0]
    miniature.save_json(path, {"hand_pts": np.c_[own[0].flat + 900, np.ones(21)].tolist(), "is_left": 0})
    assert "no keypoint lies inside" in check(source, tmp_path, split).wrong[0]


def test_problems_of_an_empty_box() -> None:
    from maskhand.data.sample import Sample

    sample = Sample(name="a", image=np.zeros((4, 4, 3), np.uint8), side="left", box=np.array([5.0, 5, 5, 9]))
    assert problems(sample) == ["box [5.0, 5.0, 5.0, 9.0] is empty"]
