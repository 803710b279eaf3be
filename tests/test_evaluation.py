from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import cache_synthetic, complete_shards
from maskhand.errors import InputError
from maskhand.evaluation.hypotheses import hypothesis_errors
from maskhand.evaluation.metrics import aligned_point_error_mm, mean_point_error_mm
from maskhand.evaluation.prior import DRAWN_SEED, prior_coverage
from maskhand.evaluation.reconstruction import reconstructed, spearman
from maskhand.evaluation.sides import side_accuracy
from maskhand.evaluation.stereo import stereo_errors
from maskhand.evaluation.synthetic import TEST_SEED, synthetic_test, worst_sheet
from maskhand.evaluation.tokenizer import recorded_poses
from maskhand.geometry.rotations import matrix_from_axis_angle, random_rotations
from maskhand.hand_model.collision import penetration_depths
from maskhand.inference.calibration import Calibration
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.synthesis.scenes import SceneConfig, SceneGenerator


def test_a_known_shift_is_measured_to_the_millimetre() -> None:
    points = torch.randn(3, 21, 3, dtype=torch.float64)
    shifted = points + torch.tensor([0.003, 0.004, 0.0])
    torch.testing.assert_close(mean_point_error_mm(points, shifted), torch.full((3,), 5.0).double())
    assert aligned_point_error_mm(points, shifted).max() < 1e-9


def test_alignment_agrees_with_scipys_procrustes() -> None:
    spatial = pytest.importorskip("scipy.spatial")
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(size=(2, 21, 3))
        ours = aligned_point_error_mm(torch.from_numpy(a), torch.from_numpy(b), allow_reflection=True).item()
        standard, fitted, _ = spatial.procrustes(b, a)
        scale = np.linalg.norm(b - b.mean(0))
        assert ours == pytest.approx(1000 * scale * np.linalg.norm(standard - fitted, axis=1).mean(), rel=1e-9)


def test_likelier_hypotheses_are_better_ones_and_the_best_is_better_still(predictor, tmp_path) -> None:
    cache_synthetic(tmp_path, seed=778, shard=0, rows=32, config=SceneConfig())
    result = hypothesis_errors(predictor, CachedSamples(complete_shards(tmp_path)), count=6, steps=2)
    assert result["best_pa_mpjpe_mm"] < result["first_pa_mpjpe_mm"] < result["last_pa_mpjpe_mm"]
    assert result["best_pa_mpjpe_mm"] < result["answer_pa_mpjpe_mm"] < result["hypotheses_pa_mpjpe_mm"]
    assert 0 < result["spearman_rank"] < 1
    assert result["mean_confidence"] == pytest.approx(result["joints_right"], abs=0.2)


def test_rank_correlation_of_a_hand_computed_case() -> None:
    assert spearman(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 4, 9, 16])) == pytest.approx(1.0)
    assert spearman(torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 2, 1])) == pytest.approx(-1.0)
    assert spearman(torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.0, 1, 4, 3])) == pytest.approx(0.6)


def test_calibration_recovers_the_curve_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    truth = Calibration(offset=4.0, slope=2.0, trust=3.0)
    spread = np.exp(rng.normal(np.log(0.008), 0.7, 40000))
    sure = rng.uniform(0.3, 1, spread.size)
    error = np.where(rng.random(spread.size) < truth(spread, sure), 1.0, 99.0)
    found = Calibration.fit(spread, sure, error)
    assert found.offset == pytest.approx(4.0, abs=0.25) and found.slope == pytest.approx(2.0, abs=0.12)
    assert found.trust == pytest.approx(3.0, abs=0.15)


def test_the_shipped_model_beats_the_landmark_networks_3d_on_synthetic_images(predictor, tmp_path) -> None:
    cache_synthetic(tmp_path, seed=777, shard=0, rows=96, config=SceneConfig())
    samples = CachedSamples(complete_shards(tmp_path))
    bare, fitted = (
        reconstructed(predictor.model, predictor.hand_model, samples, refine=refine, calibration=predictor.calibration)
        for refine in (False, True)
    )
    errors = fitted.means()
    assert errors["pa_mpjpe_mm"] < 0.98 * bare.means()["pa_mpjpe_mm"], "the fit helps"
    assert bare.means()["pa_mpjpe_mm"] < 0.7 * errors["landmark_network_pa_mpjpe_mm"]
    assert errors["spearman_joint"] > 0.2
    right = (fitted.joint_mm < 10).double().mean().item()
    assert predictor.calibration != Calibration(), "the shipped weights bring their own"
    assert fitted.confidence.mean().item() == pytest.approx(right, abs=0.07)


def test_the_worst_test_images_are_drawn_worst_first(predictor, tmp_path) -> None:
    result = reconstructed(predictor.model, predictor.hand_model, synthetic_test(6), limit=6, refine=True)
    drawn = cv2.imread(str(worst_sheet(result, 2, tmp_path / "worst.png")))[:, :, ::-1]
    size = SceneConfig().size
    assert drawn.shape == (size, 2 * 3 * size, 3)
    images = list(SceneGenerator(predictor.hand_model, SceneConfig(), TEST_SEED).samples(0, 6))
    order = result.errors["pa_mpjpe_mm"].argsort(descending=True).tolist()
    for place, k in enumerate(order[:2]):
        left = 3 * size * place
        np.testing.assert_array_equal(drawn[:, left : left + size], images[k].image)
        assert (drawn[:, left + size : left + 2 * size] != images[k].image).any()


def test_more_rounds_cost_less_than_so_many_networks(predictor) -> None:
    """What is computed once per image is not computed again each round."""
    calls = {"encoder": 0, "synthesizer": 0, "values": 0}

    def count(part: str) -> None:
        calls[part] += 1

    model = predictor.model
    handles = [
        model.encoder.pyramid.register_forward_hook(lambda *_: count("encoder")),
        model.synthesizer.register_forward_hook(lambda *_: count("synthesizer")),
        *[layer.look.value.register_forward_hook(lambda *_: count("values")) for layer in model.synthesizer.layers],
    ]
    model.reconstruct(torch.rand(1, 3, 224, 224), torch.rand(1, 21, 4), predictor.hand_model, steps=5)
    for handle in handles:
        handle.remove()
    layers, levels = len(model.synthesizer.layers), len(model.config.encoder.scales)
    assert calls == {"encoder": 1, "synthesizer": 5, "values": layers * levels}


def test_folders_that_are_not_there_are_named(tmp_path, predictor) -> None:
    with pytest.raises(InputError, match="stereo_handpose3d folder"):
        stereo_errors(predictor, tmp_path)
    with pytest.raises(InputError, match="cannot be read as recorded poses"):
        recorded_poses(tmp_path / "none.npz", predictor.hand_model)


def test_real_stereo_depth_is_met_better_than_by_the_landmark_networks_3d(predictor, development_data) -> None:
    errors = stereo_errors(predictor, development_data / "stereo_handpose3d", every=12)
    assert errors["frames"] > 20
    assert errors["pa_mpjpe_mm"] < errors["landmark_network_pa_mpjpe_mm"]


def test_extended_fingers_are_counted(hand_model) -> None:
    """The open hand has five; fingers bent into a fist one after the other leave the others."""
    from maskhand.evaluation.real_photos import extended_fingers
    from maskhand.hand_model.joint_axes import JointAxes
    from maskhand.synthesis.pose_prior import pose_from_angles

    axes = JointAxes.of(hand_model)
    for bent in range(5):
        angles = torch.zeros(1, 21)
        angles[0, 17] = 0.3
        for finger in (0, 1, 3, 2)[4 - bent :] if bent else ():
            angles[0, 4 * finger] = 1.3
            angles[0, 4 * finger + 2] = 1.6
        points = hand_model.keypoints(pose_from_angles(angles, axes), torch.zeros(1, 10))[0].numpy()
        assert extended_fingers(points) == 5 - bent


def test_the_palms_own_axes_take_turn_place_and_size_away(hand_model, poses) -> None:
    from maskhand.evaluation.real import hand_frame

    points = hand_model.keypoints(poses[:1], torch.zeros(1, 10))[0].double().numpy()
    turn = random_rotations(1)[0].double().numpy()
    np.testing.assert_allclose(
        hand_frame(2.5 * points @ turn + 1, left=False), hand_frame(points, left=False), atol=1e-6
    )
    np.testing.assert_allclose(hand_frame(points * [-1, 1, 1], left=True), hand_frame(points, left=False), atol=1e-9)


def test_a_large_hand_whose_fingers_touch_cuts_itself_only_once_it_is_scaled_down(hand_model) -> None:
    from maskhand.evaluation.real import _penetration_rows
    from maskhand.types import DetectedHand, Hand

    swung = torch.eye(3).repeat(1000, 16, 1, 1)  # the index finger against the middle one, farther and farther
    swung[:, 1] = matrix_from_axis_angle(torch.linspace(0, -0.5, 1000)[:, None] * torch.tensor([0.0, 1.0, 0.0]))
    points = hand_model.keypoints(swung, torch.zeros(1000, 10))
    touching = int((penetration_depths(points)[0].amax(1) < 0).sum()) - 1
    joints = 1.2 * points[touching].double().numpy()
    nothing = np.zeros(0)
    hand = Hand("right", nothing, 1, nothing, nothing, joints, nothing, nothing, nothing, 1.0, nothing, 1.0)
    relief = DetectedHand(np.c_[1000 * joints[:, :2], np.ones(21)], 1.0, 1.0, depth=1000 * joints[:, 2])
    scaled, own = _penetration_rows([(hand, relief)])
    assert (scaled.ours, scaled.landmark_network, own.ours, own.landmark_network) == (100, 100, 0, 0)


def test_real_evidence_stands_in_one_table_and_its_worst_photos_on_a_sheet(
    predictor, development_data, monkeypatch, tmp_path
) -> None:
    from maskhand.cli.evaluate import real

    monkeypatch.setattr(real, "FRAMES", 4)
    monkeypatch.setattr(real, "SQUARES", 30)
    evidence = real.real_evidence(predictor, development_data, steps=1, every=40)
    rows = {(row.source, row.measure): row for row in evidence.rows}
    ours = {source: row for (source, measure), row in rows.items() if measure.startswith("PA-MPJPE, the network's")}
    assert 4 < ours["stereo_handpose3d"].ours < ours["stereo_handpose3d"].landmark_network
    counts = rows[("finger_counting", "finger counts right [%]")]
    assert counts.count == 15 and counts.ours >= 80
    assert rows[("packaged photographs", "squares without a hand in which one is found [%]")].ours <= 5
    lacking = [key for key, row in rows.items() if row.count > 3 and not np.isfinite(row.ours)]
    assert not lacking
    hands = [photo.off for photo in evidence.photos if photo.hand is not None]
    assert len(evidence.photos) > 40 and min(hands) > 0 and np.median(hands) < 5
    missed = real.Judged(evidence.photos[0].name, None, np.inf)  # shown first
    lost = real.Evidence(evidence.rows, [*evidence.photos, missed])
    assert lost.worst(2) == [missed, max(evidence.photos, key=lambda photo: photo.off)]
    sheet = cv2.imread(str(real.worst_photos_sheet(lost, development_data, 3, tmp_path / "worst.png")))
    assert sheet.shape == (2 * real.TILE_PX, 6 * real.TILE_PX, 3)
    assert not sheet[: real.TILE_PX - 20, real.TILE_PX : 3 * real.TILE_PX].any()  # no hand, no mesh
    assert sheet[: real.TILE_PX, 3 * real.TILE_PX :].any()


def test_real_evidence_without_the_data_says_what_is_missing(predictor, tmp_path) -> None:
    from maskhand.evaluation.real_evidence import real_evidence

    with pytest.raises(InputError, match="stereo_handpose3d does not exist; DATA must be the folder"):
        real_evidence(predictor, tmp_path)


def test_sides_are_right_more_often_than_not_and_unsure_ones_are_few(predictor) -> None:
    result = side_accuracy(predictor, 48, steps=1)
    assert 24 < result["hands_found"] <= 48
    assert result["hands_unsure"] < 0.5 * result["hands_found"]
    assert result["one_look_percent"] > 65 and result["with_mirror_image_percent"] > 65


def test_a_drawn_pose_is_covered_by_the_prior_it_was_drawn_from(hand_model) -> None:
    drawn = PosePrior(hand_model).sample(400, np.random.default_rng(DRAWN_SEED))[:30]
    result = prior_coverage(hand_model, drawn, drawn=400)
    assert result["recorded_nearest_mm"] < 0.5 * result["held_out_nearest_mm"], "the very same poses are in the bank"
    stretched = drawn.clone()
    stretched[:, 2::3] = drawn[:, 2::3] @ drawn[:, 2::3] @ drawn[:, 2::3]  # middle joints bent three times as far
    far = prior_coverage(hand_model, stretched, drawn=400)
    assert far["recorded_nearest_mm"] > 1.3 * far["held_out_nearest_mm"]
