from __future__ import annotations

import copy
import json
from dataclasses import replace
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maskhand import AssetError, ConfigError, InputError, load
from maskhand.io.record import result_record
from maskhand.geometry.crop import crop_around
from maskhand.validation import checked_keypoints
from maskhand.io.photos import read_photo
from maskhand.fitting.prediction_fit import apart_from_others
from maskhand.predictor import APART, RELAID
from maskhand.types import Hand
from maskhand.rendering.overlay import draw_result


@pytest.fixture(scope="module")
def hands(predictor, demo_image):
    return sorted(predictor(demo_image), key=lambda h: h.box[0])


def test_the_demo_picture_gives_a_right_and_a_left_hand(hands) -> None:
    assert [h.side for h in hands] == ["right", "left"]
    for hand in hands:
        assert hand.vertices.shape == (1609, 3) and hand.joints.shape == (21, 3) and hand.keypoints.shape == (21, 2)
        assert hand.pose.shape == (16, 3, 3) and hand.shape.shape == (10,) and hand.box.shape == (4,)
        assert 0 <= hand.confidence <= 1 and ((hand.joint_confidence >= 0) & (hand.joint_confidence <= 1)).all()
        np.testing.assert_allclose(hand.pose @ hand.pose.transpose(0, 2, 1), np.tile(np.eye(3), (16, 1, 1)), atol=1e-4)


def test_crops_as_they_come_take_the_keypoints_seen_upright(predictor, demo_image, monkeypatch) -> None:
    found = predictor.provider.find(demo_image)
    photo = read_photo(demo_image)
    sides = [hand.side == "left" for hand in found]
    upright = [crop_around(hand.keypoints, mirrored=left) for hand, left in zip(found, sides, strict=True)]
    _, seen = predictor._look(photo, upright, found)
    monkeypatch.setattr(predictor.model, "config", replace(predictor.model.config, upright_crop=False))
    boxes = [crop_around(hand.keypoints, mirrored=left, upright=False) for hand, left in zip(found, sides, strict=True)]
    _, points = predictor._look(photo, boxes, found)
    for k, (one, other) in enumerate(zip(upright, boxes, strict=True)):
        np.testing.assert_allclose(other.to_photo(points[k, :, :2].numpy()), found[k].keypoints[:, :2], atol=0.05)
        apart = one.to_photo(seen[k, :, :2].numpy()) - found[k].keypoints[:, :2]
        assert np.linalg.norm(apart, axis=1).mean() < 0.05 * one.side
        assert (seen[k, :, 3] * one.side - points[k, :, 3] * other.side).abs().mean() < 0.1 * one.side, (
            "depth in one unit"
        )


def test_attention_looks_from_the_keypoints_at_the_hand(predictor, hands, demo_image) -> None:
    for hand in hands:
        reference, places, weights = predictor.attention(demo_image, hand)
        size = (hand.box[2:] - hand.box[:2]).max()
        knuckles = hand.details["keypoints_seen"][:, :2]
        nearest = np.linalg.norm(reference[:, None] - knuckles, axis=-1).min(1)
        assert len(reference) == 64 and nearest.mean() < 0.15 * size
        np.testing.assert_allclose(weights.reshape(64, 4, -1).sum(-1), 1, rtol=1e-4)  # by head
        far = np.linalg.norm(places - reference[:, None], axis=-1)
        assert (far * weights).sum() / weights.sum() < size
    with pytest.raises(InputError, match="layer is 5"):
        predictor.attention(demo_image, hands[0], layer=5)


def test_hands_lie_before_the_camera_at_a_believable_size_and_distance(hands) -> None:
    for hand in hands:
        assert 0.2 < hand.joints[:, 2].mean() < 1.5
        assert 0.12 < np.linalg.norm(np.diff(hand.joints[[0, 9, 10, 11, 12]], axis=0), axis=1).sum() < 0.25


def test_keypoints_are_the_joints_projected_and_lie_on_the_hand(hands, demo_image) -> None:
    height, width = demo_image.shape[:2]
    for hand in hands:
        flat = hand.focal_px * hand.joints[:, :2] / hand.joints[:, 2:] + [width / 2, height / 2]
        np.testing.assert_allclose(hand.keypoints, flat, atol=0.05)
        seen = hand.details["keypoints_seen"][:, :2]
        size = (hand.box[2:] - hand.box[:2]).max()
        assert np.linalg.norm(hand.keypoints - seen, axis=1).mean() < 0.08 * size


def test_the_mesh_carries_the_joints_on_both_sides(hands, predictor) -> None:
    for hand in hands:
        nearest = np.linalg.norm(hand.vertices[:, None] - hand.joints[None], axis=-1).min(0)
        assert nearest.max() < 0.02
        a, b, c = (hand.vertices[hand.faces[:, k]] - hand.vertices.mean(0) for k in range(3))
        assert (np.cross(a, b) * c).sum() > 0, "faces look outwards"


def test_a_mirrored_photo_gives_mirrored_hands(hands, predictor, demo_image) -> None:
    mirrored = sorted(predictor(np.ascontiguousarray(demo_image[:, ::-1])), key=lambda h: -h.box[0])
    for hand, other in zip(hands, mirrored, strict=True):
        assert {hand.side, other.side} == {"left", "right"}
        distance = np.linalg.norm(hand.joints * [-1, 1, 1] - other.joints, axis=1)
        assert np.median(distance) < 0.03 * hand.joints[:, 2].mean() + 0.01


def test_the_same_box_and_keypoints_mirrored_give_the_mirrored_hand(hands, predictor, demo_image) -> None:
    width = demo_image.shape[1]
    points = hands[0].details["keypoints_seen"]
    flipped = points * [-1, 1, 1] + [width, 0, 0]
    one = predictor.reconstruct(demo_image, keypoints=points, sides=["right"])[0]
    other = predictor.reconstruct(np.ascontiguousarray(demo_image[:, ::-1]), keypoints=flipped, sides=["left"])[0]
    # Up to one drawn token more or less in the spread, which says how tightly the fit holds a joint.
    np.testing.assert_allclose(other.joints, one.joints * [-1, 1, 1], atol=4e-3)


def test_a_turned_photo_gives_the_same_hand_turned(hands, predictor, demo_image) -> None:
    width = demo_image.shape[1]
    points = hands[0].details["keypoints_seen"]
    turned = np.stack([points[:, 1], width - points[:, 0], points[:, 2]], 1)
    one = predictor.reconstruct(demo_image, keypoints=points, sides=["right"], focal_px=900)[0]
    other = predictor.reconstruct(np.rot90(demo_image), keypoints=turned, sides=["right"], focal_px=900)[0]
    expected = np.stack([one.joints[:, 1], -one.joints[:, 0], one.joints[:, 2]], 1)
    np.testing.assert_allclose(other.joints, expected, atol=3e-3)


def test_several_hands_at_once_are_what_each_is_alone(hands, predictor, demo_image) -> None:
    boxes = np.stack([h.box for h in hands])
    together = predictor.reconstruct(demo_image, boxes, ["right", "left"])
    for box, side, hand in zip(boxes, ["right", "left"], together, strict=True):
        alone = predictor.reconstruct(demo_image, [box], [side])[0]
        np.testing.assert_allclose(alone.joints, hand.joints, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_any_number_of_rounds_works(predictor, demo_image, steps: int) -> None:
    assert len(predictor(demo_image, steps=steps)) == 2


def test_a_longer_lens_puts_the_hand_further_away(predictor, demo_image, hands) -> None:
    box = [hands[0].box]
    near, far = (predictor.reconstruct(demo_image, box, ["right"], focal_px=f)[0] for f in (600, 1200))
    assert far.joints[:, 2].mean() == pytest.approx(2 * near.joints[:, 2].mean(), rel=0.1)


def test_one_sided_calls_are_obeyed(predictor, demo_image) -> None:
    assert {h.side for h in predictor(demo_image, side="left")} == {"left"}


def test_no_hands_give_an_empty_list(predictor) -> None:
    assert predictor(np.full((50, 70, 3), 90, np.uint8)) == []
    assert predictor(np.zeros((1, 1, 3), np.uint8)) == []
    assert predictor.reconstruct(np.zeros((50, 70, 3), np.uint8), boxes=[]) == []


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_exported_meshes_read_back(hands, tmp_path, suffix: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = hands[0].export(tmp_path / f"hand.{suffix}")
    mesh = trimesh.load(path, force="mesh", process=False)
    assert mesh.faces.shape == (3214, 3)
    np.testing.assert_allclose(mesh.bounds, np.stack([e for e in _bounds(hands[0].vertices * [1, -1, -1])]), atol=1e-4)
    assert mesh.volume > 0


def _bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points.min(0), points.max(0)


def test_unknown_mesh_formats_and_folders_are_refused(hands, tmp_path) -> None:
    with pytest.raises(InputError, match=r"one of \.glb, \.obj, \.ply"):
        hands[0].export(tmp_path / "hand.stl")
    with pytest.raises(InputError, match="does not exist"):
        hands[0].export(tmp_path / "no" / "hand.glb")


def test_the_record_fits_its_schema(hands, demo_image) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((files("maskhand") / "assets" / "result.schema.json").read_text())
    record = json.loads(json.dumps(result_record("demo.jpg", demo_image, hands, ["demo_0.glb", ""], steps=5)))
    jsonschema.validate(record, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "hands": [{**record["hands"][0], "side": "both"}]}, schema)


def test_unknown_keypoints_may_hold_anything() -> None:
    given = np.ones((21, 3))
    given[4], given[5] = (np.inf, -np.inf, 0), np.nan
    known = checked_keypoints(given)
    assert known.shape == (1, 21, 3) and (known[0, 4:6] == 0).all() and (known[0, 6:] == 1).all()


def test_all_hands_of_a_crowd_are_shown_from_another_side(hands) -> None:
    wide = np.zeros((100, 2000, 3), np.uint8)
    few, many = draw_result(wide, hands[:1] * 2), draw_result(wide, hands[:1] * 14)
    below = many[-100:, -100:]
    assert many.shape[0] == 3 * 120 and many.shape[1] - few.shape[1] == (5 - 1) * 120
    assert below.std() < 20 < many[-220:-120, -220:-20].std(), "14 of 15 places are taken"


def test_the_picture_shows_photo_overlay_and_another_view(hands, demo_image) -> None:
    picture = draw_result(demo_image, hands)
    assert picture.dtype == np.uint8 and picture.shape[1] > 2 * picture.shape[0]
    one = draw_result(demo_image[:, :500], hands[:1])
    assert one.shape[2] == 3
    assert draw_result(demo_image, []).shape[1] == 2 * round(demo_image.shape[1] * min(1, 720 / demo_image.shape[0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, i: p(i, steps=0), "steps is 0"),
        (lambda p, i: p(i, steps=65), "steps is 65"),
        (lambda p, i: p(i, steps=1.5), "steps is 1.5"),
        (lambda p, i: p(i, side="both"), "side is 'both'"),
        (lambda p, i: p.reconstruct(i, "here"), "boxes are 'here'"),
        (lambda p, i: p.reconstruct(i, [[1, 2, 3, 4], [1, 2]]), "expected numbers"),
        (lambda p, i: p.reconstruct(i), "needs boxes or keypoints"),
        (lambda p, i: p.reconstruct(i, [[10, 10, 5, 20]]), r"box 0 is \[10\.0, 10\.0, 5\.0, 20\.0\]"),
        (lambda p, i: p.reconstruct(i, [[0, 0, np.nan, 20]]), "box 0"),
        (lambda p, i: p.reconstruct(i, [[1e6, 1e6, 1e6 + 100, 1e6 + 100]]), "box 0 is .* but the photo has"),
        (lambda p, i: p.reconstruct(i, [[0, 0, 99, 99], [-1e12, -1e12, 1e12, 1e12]]), "box 1 is"),
        (lambda p, i: p.reconstruct(i, [[1, 2, 3]]), r"expected \(N, 4\)"),
        (lambda p, i: p.reconstruct(i, [[0, 0, 9, 9]], ["left", "right"]), "2 sides but 1 boxes"),
        (lambda p, i: p.reconstruct(i, [[0, 0, 9, 9]], ["up"]), "side is 'up'"),
        (lambda p, i: p.reconstruct(i, keypoints=np.zeros((20, 2))), r"expected \(N, 21, 2\)"),
        (lambda p, i: p.reconstruct(i, keypoints=np.full((21, 2), np.nan)), "NaN"),
        (lambda p, i: p.reconstruct(i, keypoints=np.zeros((21, 3))), "fewer than 3 known"),
        (lambda p, i: p.reconstruct(i, keypoints=np.full((21, 3), 2.0)), "confidence is 2"),
        (
            lambda p, i: p.reconstruct(i, [[0, 0, 9, 9]], keypoints=np.ones((2, 21, 2))),
            "2 hands in keypoints but 1 boxes",
        ),
    ],
)
def test_bad_arguments_are_named(predictor, demo_image, call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(predictor, demo_image)


def test_weights_that_do_not_exist_or_do_not_fit_are_named(tmp_path) -> None:
    from maskhand.checkpoint import read_weights, save_weights

    with pytest.raises(AssetError, match="no weights named 'tiny'"):
        load("tiny")
    (tmp_path / "bad.safetensors").write_bytes(b"rubbish")
    with pytest.raises(AssetError, match="damaged or no safetensors"):
        load(tmp_path / "bad.safetensors")
    from maskhand.assets import embedded

    tensors, config = read_weights(embedded("default.safetensors"))
    some = sorted(tensors)[0]
    save_weights(tmp_path / "part.safetensors", {k: v for k, v in tensors.items() if k != some}, config)
    with pytest.raises(AssetError, match="missing"):
        load(tmp_path / "part.safetensors")
    save_weights(tmp_path / "shape.safetensors", {**tensors, some: torch.zeros(7, 7, 7)}, config)
    with pytest.raises(AssetError, match="has shape"):
        load(tmp_path / "shape.safetensors")
    save_weights(tmp_path / "other.safetensors", tensors, {**config, "hand_model": "mano"})
    with pytest.raises(AssetError, match="trained on hand model 'mano'"):
        load(tmp_path / "other.safetensors")
    save_weights(tmp_path / "keys.safetensors", tensors, {**config, "model": {**config["model"], "widht": 3}})
    with pytest.raises(ConfigError, match="unknown setting widht"):
        load(tmp_path / "keys.safetensors")


def test_a_device_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that should be missing")
    with pytest.raises(ConfigError, match="cuda"):
        load(device="cuda")


# The side of the hand in finger_counting's photos, by anatomy: palm or back, and where the thumb points. Three are left
# out as
# undecided.
LEFT = ("Set1_1_one_233", "Set1_2_two_73", "Set1_3_three_208", "Set1_3_three_44", "Set1_5_five_238")
RIGHT = (
    "Set1_1_one_89",
    "Set1_2_two_223",
    "Set1_4_four_18",
    "Set1_5_five_102",
    "Set2_1_one_152",
    "Set2_4_four_26",
    "Set2_5_five_161",
)


def test_hands_are_found_on_the_right_side_in_the_finger_counting_photos(predictor, development_data) -> None:
    paths = sorted((development_data / "finger_counting").glob("*.jpg"))
    assert len(paths) == 15
    for path in paths:
        found = predictor.provider.find(read_photo(path).pixels)
        assert len(found) == 1, path.name
        name = path.stem.removeprefix("Raw_Images_Human_")
        if name in LEFT + RIGHT:
            assert found[0].side == ("left" if name in LEFT else "right"), path.name


def test_several_looks_give_the_same_hands_in_the_same_place(predictor, demo_image) -> None:
    """Looks are averaged in the first one's axes: a mistake in turning them back would tear the hand apart."""
    steady = load("large")
    assert steady.looks > 1
    one, several = (sorted(p(demo_image), key=lambda h: h.box[0]) for p in (predictor, steady))
    assert [h.side for h in several] == ["right", "left"]
    for hand, other in zip(one, several, strict=True):
        size = (hand.box[2:] - hand.box[:2]).max()
        assert np.linalg.norm(hand.keypoints - other.keypoints, axis=1).mean() < 0.06 * size
        a, b = (h.joints - h.joints[:1] for h in (hand, other))
        assert np.linalg.norm(a - b, axis=1).mean() < 0.012
        np.testing.assert_allclose(
            other.pose @ other.pose.transpose(0, 2, 1), np.tile(np.eye(3), (16, 1, 1)), atol=1e-4
        )


def test_looks_of_a_mirrored_hand_come_back_to_the_first_ones_axes() -> None:
    """A pose turned into every look's own axes and merged is the pose again, left hands too."""
    from maskhand.geometry.crop import Crop
    from maskhand.geometry.rotations import random_rotations
    from maskhand.fitting.prediction_fit import looks_around, merged
    from maskhand.types import Prediction

    for mirrored in (False, True):
        looks = looks_around(Crop((100.0, 80.0), 60.0, 0.7, mirrored), 5)
        flip = np.diag([-1.0 if mirrored else 1.0, 1, 1])
        pose = random_rotations(16).double()
        poses, points = pose.repeat(5, 1, 1, 1), torch.zeros(5, 21, 4).double()
        place = np.random.default_rng(0).uniform(70, 130, (21, 2))
        for k, look in enumerate(looks):
            turn = flip @ look.camera_rotation().T @ looks[0].camera_rotation() @ flip
            poses[k, 0] = torch.from_numpy(turn) @ pose[0]
            points[k, :, :2] = torch.from_numpy(look.to_crop(place))
            points[k, :, 3] = 1.0 / look.side
        camera = torch.tensor([[10 / look.side, 0.0, 0.0] for look in looks]).double()
        rest = *(torch.zeros(5, 64),) * 2, *(torch.zeros(5, 21),) * 2, torch.zeros(5)
        answer = merged(Prediction(poses, torch.zeros(5, 10), camera, points, *rest), looks, 5)
        torch.testing.assert_close(answer.pose[0], pose, atol=1e-6, rtol=0)
        torch.testing.assert_close(answer.keypoints[0, :, :2], torch.from_numpy(looks[0].to_crop(place)))
        torch.testing.assert_close(answer.weak_camera[0, 0], camera[0, 0])
        torch.testing.assert_close(answer.keypoints[0, :, 3], torch.full((21,), 1 / looks[0].side).double())


def test_a_side_that_the_detector_is_unsure_of_is_read_off_the_hand(predictor, demo_image) -> None:
    found = next(hand for hand in predictor.provider.find(demo_image) if hand.side == "left")
    for lean in (0.45, 0.55):  # leaning to either side, a little
        assert predictor.from_detected(demo_image, [replace(found, right=lean)])[0].side == "left"
        mirrored = np.ascontiguousarray(demo_image[:, ::-1])
        flipped = found.keypoints * (-1, 1, 1) + (demo_image.shape[1], 0, 0)
        other = replace(found, right=lean, keypoints=flipped.astype(np.float32))
        assert predictor.from_detected(mirrored, [other])[0].side == "right"


def test_an_unknown_keypoint_of_a_provider_does_not_spoil_the_hand(predictor, demo_image) -> None:
    found = next(hand for hand in predictor.provider.find(demo_image) if hand.side == "left")
    unknown = found.keypoints.copy()
    unknown[12] = 0

    class Given:
        def __init__(self, keypoints: np.ndarray) -> None:
            self.hand = replace(found, keypoints=keypoints)

        def find(self, image: np.ndarray) -> list:
            return [self.hand]

        def find_in_box(self, image: np.ndarray, box: np.ndarray):
            return self.hand

    other = copy.copy(predictor)
    hands = []
    for keypoints in (found.keypoints, unknown):
        other.provider = Given(keypoints)
        hands += other(demo_image)
    size = np.ptp(found.keypoints[:, :2], axis=0).max()
    assert np.abs(hands[1].box - hands[0].box).max() < 0.5 * size
    assert hands[1].details["crop"].side < 1.3 * hands[0].details["crop"].side
    assert np.linalg.norm(hands[1].keypoints - hands[0].keypoints, axis=1).mean() < 0.06 * size


def test_a_crop_on_which_the_networks_disagree_gives_way_to_one_on_which_they_agree(
    predictor, demo_image, hands, monkeypatch
) -> None:
    right = min(predictor.provider.find(demo_image), key=lambda hand: hand.box[0])
    tip = right.keypoints[8, :2]
    cut = (right.keypoints - [*tip, 0]) * [0.3, 0.3, 1] + [*tip, 0]  # a fingertip taken for a hand
    finger = replace(right, keypoints=cut.astype(np.float32), score=0.95)
    monkeypatch.setattr(predictor.provider, "find", lambda image: [finger])
    monkeypatch.setattr("maskhand.predictor.RELAID", 0)
    assert predictor.from_detected(demo_image, [finger])[0].details["apart"] > APART
    (hand,) = predictor(demo_image)
    assert hand.details["apart"] <= APART
    size = (right.box[2:] - right.box[:2]).max()
    assert np.linalg.norm(hand.keypoints - hands[0].keypoints, axis=1).mean() < 0.05 * size


def test_an_unsure_find_counts_only_where_the_model_is_sure_of_its_hand(predictor, demo_image, monkeypatch) -> None:
    found = predictor.provider.find(demo_image)
    finds = lambda *hands: monkeypatch.setattr(predictor.provider, "find", lambda image: list(hands))  # noqa: E731
    plain = np.full_like(demo_image, 128)
    finds(*[replace(hand, score=0.7) for hand in found])
    assert len(predictor(demo_image)) == 2 and predictor(plain) == []
    finds(*[replace(hand, score=0.95) for hand in found])
    assert len(predictor(plain)) == 2
    for order in (found, found[::-1]):
        finds(*order)
        first, second = predictor(demo_image)
        assert first.score * first.confidence > second.score * second.confidence


def test_a_photo_without_a_hand_is_searched_once_more(predictor, demo_image, hands, monkeypatch) -> None:
    monkeypatch.setattr(predictor.provider, "find", lambda image: [])
    again = predictor(demo_image)
    assert len(again) == len(hands)  # each once
    for hand, before in zip(*(sorted(seen, key=lambda hand: hand.side) for seen in (again, hands)), strict=True):
        size = np.ptp(before.keypoints, axis=0).max()
        assert np.linalg.norm(hand.keypoints - before.keypoints, axis=1).mean() < 0.05 * size
    assert predictor(np.full_like(demo_image, 128)) == []
    monkeypatch.setattr("maskhand.predictor.APART", 0.0)  # the networks never agree
    assert predictor(demo_image) == []


def test_hypotheses_are_drawn_by_seed_and_ranked(predictor, demo_image, hands, monkeypatch) -> None:
    hand = hands[0]
    drawn = predictor.hypotheses(demo_image, hand, 6, seed=3)
    apart = apart_from_others(torch.from_numpy(np.stack([other.joints for other in drawn])))
    assert len(drawn) == 6 and (apart.diff() > -1e-5).all()
    size = np.ptp(hand.keypoints, axis=0).max()
    for other in drawn:
        assert other.side == hand.side and other.focal_px == hand.focal_px
        assert np.linalg.norm(other.keypoints - hand.keypoints, axis=1).mean() < 0.06 * size
    assert len({other.joints.tobytes() for other in drawn}) == 6
    again, others = (predictor.hypotheses(demo_image, hand, 6, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(again[0].joints, drawn[0].joints)
    assert not np.allclose(others[0].joints, drawn[0].joints)
    monkeypatch.setattr("maskhand.predictor.DRAWN_AT_ONCE", 2)
    assert len(predictor.hypotheses(demo_image, hand, 3)) == 3
    with pytest.raises(InputError, match="count"):
        predictor.hypotheses(demo_image, hand, 0)


def test_hypotheses_of_a_hand_with_keypoints_given_start_from_them(predictor, demo_image, hands) -> None:
    wrong = hands[0].details["keypoints_seen"][None].copy()
    wrong[0, 5:9, :2] += 40.0
    (hand,) = predictor.reconstruct(demo_image, keypoints=wrong, sides=["right"])
    for other in predictor.hypotheses(demo_image, hand, 2):
        np.testing.assert_allclose(other.details["keypoints_seen"], hand.details["keypoints_seen"], atol=0.01)
        np.testing.assert_allclose(other.details["keypoints_seen"], wrong[0], atol=0.01)


def test_a_wrong_first_guess_of_the_keypoints_is_looked_at_again(predictor, demo_image, hands) -> None:
    found = min(predictor.provider.find(demo_image), key=lambda hand: hand.box[0])
    middle = found.keypoints[:, :2].mean(0)
    turn = np.array([[np.cos(0.6), np.sin(0.6)], [-np.sin(0.6), np.cos(0.6)]])
    wrong = middle + 1.35 * (found.keypoints[:, :2] - middle) @ turn
    guess = replace(found, keypoints=np.c_[wrong, found.keypoints[:, 2]].astype(np.float32))
    hasty = copy.copy(predictor)
    hasty._settled = lambda photo, found, crops, maps, points: (crops, maps, points)
    once, again = (p.from_detected(demo_image, [guess])[0] for p in (hasty, predictor))
    right = hands[0].keypoints
    assert np.abs(again.keypoints - right).mean() < 0.8 * np.abs(once.keypoints - right).mean()


def test_a_crop_that_cuts_the_hand_is_laid_anew_until_it_shows_it(predictor, demo_image, hands, monkeypatch) -> None:
    found = min(predictor.provider.find(demo_image), key=lambda hand: hand.box[0])
    middle = found.keypoints[:, :2].mean(0)
    small = middle + 0.5 * (found.keypoints[:, :2] - middle)
    guess = replace(found, keypoints=np.c_[small, found.keypoints[:, 2]].astype(np.float32))
    away = []
    for times in (1, RELAID):
        monkeypatch.setattr("maskhand.predictor.RELAID", times)
        away.append(np.abs(predictor.from_detected(demo_image, [guess])[0].keypoints - hands[0].keypoints).mean())
    assert away[1] < 0.7 * away[0]


def test_poses_that_others_lie_near_come_first() -> None:
    one = torch.randn(21, 3)
    bent = one + torch.tensor([0.0, 0.01, 0.02, 0.9])[:, None, None] * torch.randn(21, 3)
    turned = bent @ torch.linalg.qr(torch.randn(3, 3))[0] + 1  # where a pose is and how it is turned does not count
    apart = apart_from_others(turned)
    assert apart.argmax() == 3
    torch.testing.assert_close(apart_from_others(turned.repeat(40, 1, 1))[:4], apart, rtol=0.02, atol=1e-4)
    assert apart_from_others(one[None]) < 1e-5


def test_a_doubted_hand_stays_beside_another_one_that_its_crops_show(predictor, demo_image, hands) -> None:
    photo = read_photo(demo_image)
    right, left = sorted(hands, key=lambda hand: hand.box[0])
    doubted = replace(right, details={**right.details, "apart": 1.0}, score=0.95)

    def again(shown: Hand, confidence: float) -> list[float]:
        finder = SimpleNamespace(look_around=lambda image, box: [shown.details["detected"]])
        seen = predictor._looked_again(finder, photo, replace(doubted, confidence=confidence), None, 1)
        return sorted(round(float(hand.box[0])) for hand in seen)

    here, there = (round(float(hand.box[0])) for hand in (right, left))
    assert again(left, confidence=0.9) == [here, there]
    assert again(left, confidence=0.1) == [there]
    assert again(right, confidence=0.1) == [here]
