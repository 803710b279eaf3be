"""Measures on synthetic images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from tests.helpers import keypoints_of

from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import cache_synthetic, complete_shards
from maskhand.evaluation.hypotheses import hypothesis_errors
from maskhand.evaluation.prior import DRAWN_SEED, prior_coverage
from maskhand.evaluation.reconstruction import reconstructed, spearman
from maskhand.evaluation.sides import side_accuracy
from maskhand.evaluation.synthetic import TEST_SEED, synthetic_test, worst_sheet
from maskhand.inference.calibration import Calibration
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.synthesis.scenes import SceneConfig, SceneGenerator


def test_likelier_hypotheses_are_better_ones_and_the_best_is_better_still(torch_predictor, tmp_path) -> None:
    cache_synthetic(tmp_path, seed=778, shard=0, rows=32, config=SceneConfig())
    result = hypothesis_errors(torch_predictor, CachedSamples(complete_shards(tmp_path)), count=6, steps=2)
    assert result["best_pa_mpjpe_mm"] < result["first_pa_mpjpe_mm"] < result["last_pa_mpjpe_mm"]
    assert result["best_pa_mpjpe_mm"] < result["answer_pa_mpjpe_mm"] < result["hypotheses_pa_mpjpe_mm"]
    assert 0 < result["spearman_rank"] < 1
    assert result["mean_confidence"] == pytest.approx(result["joints_right"], abs=0.2)


def test_rank_correlation_of_a_hand_computed_case() -> None:
    assert spearman(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 4, 9, 16])) == pytest.approx(1.0)
    assert spearman(torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 2, 1])) == pytest.approx(-1.0)
    assert spearman(torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.0, 1, 4, 3])) == pytest.approx(0.6)


def test_the_shipped_model_beats_the_landmark_networks_3d_on_synthetic_images(torch_predictor, tmp_path) -> None:
    cache_synthetic(tmp_path, seed=777, shard=0, rows=96, config=SceneConfig())
    samples = CachedSamples(complete_shards(tmp_path))
    bare, fitted = (
        reconstructed(
            torch_predictor.network, torch_predictor.hand_model, samples, torch_predictor.config, refine=refine
        )
        for refine in (False, True)
    )
    errors = fitted.means()
    assert errors["pa_mpjpe_mm"] < 0.98 * bare.means()["pa_mpjpe_mm"], "the fit helps"
    assert bare.means()["pa_mpjpe_mm"] < 0.7 * errors["landmark_network_pa_mpjpe_mm"]
    assert errors["spearman_joint"] > 0.2
    right = (fitted.joint_mm < 10).double().mean().item()
    assert torch_predictor.config.calibration != Calibration(), "the shipped weights bring their own"
    assert fitted.confidence.mean().item() == pytest.approx(right, abs=0.07)


def test_the_worst_test_images_are_drawn_worst_first(torch_predictor, tmp_path) -> None:
    result = reconstructed(torch_predictor.network, torch_predictor.hand_model, synthetic_test(6), limit=6, refine=True)
    drawn = cv2.imread(str(worst_sheet(result, 2, tmp_path / "worst.png")))[:, :, ::-1]
    size = SceneConfig().size
    assert drawn.shape == (size, 2 * 3 * size, 3)
    images = list(SceneGenerator(torch_predictor.hand_model, SceneConfig(), TEST_SEED).samples(0, 6))
    order = result.errors["pa_mpjpe_mm"].argsort(descending=True).tolist()
    for place, k in enumerate(order[:2]):
        left = 3 * size * place
        np.testing.assert_array_equal(drawn[:, left : left + size], images[k].image)
        assert (drawn[:, left + size : left + 2 * size] != images[k].image).any()


def test_more_rounds_cost_less_than_so_many_networks(torch_predictor) -> None:
    """What is computed once per image is not computed again each round."""
    calls = {"encoder": 0, "synthesizer": 0, "values": 0}

    def count(part: str) -> None:
        calls[part] += 1

    network, model = torch_predictor.network, torch_predictor.network.model
    handles = [
        model.encoder.pyramid.register_forward_hook(lambda *_: count("encoder")),
        model.synthesizer.register_forward_hook(lambda *_: count("synthesizer")),
        *[layer.deform.value.register_forward_hook(lambda *_: count("values")) for layer in model.synthesizer.layers],
    ]
    network.reconstruct(
        torch.rand(1, 3, 224, 224), keypoints_of(torch.rand(1, 21, 4)), torch_predictor.hand_model, steps=5
    )
    for handle in handles:
        handle.remove()
    layers, levels = len(model.synthesizer.layers), len(model.config.encoder.scales)
    assert calls == {"encoder": 1, "synthesizer": 5, "values": layers * levels}


def test_sides_are_right_more_often_than_not_and_unsure_ones_are_few(torch_predictor) -> None:
    result = side_accuracy(torch_predictor, 48, steps=1)
    assert 24 < result["hands_found"] <= 48
    assert result["hands_unsure"] < 0.5 * result["hands_found"]
    assert result["one_crop_percent"] > 65 and result["with_mirror_image_percent"] > 65


def test_a_drawn_pose_is_covered_by_the_prior_it_was_drawn_from(hand_model) -> None:
    drawn = PosePrior(hand_model).sample(400, np.random.default_rng(DRAWN_SEED))[:30]
    result = prior_coverage(hand_model, drawn, drawn=400)
    assert result["recorded_nearest_mm"] < 0.5 * result["held_out_nearest_mm"], "the very same poses are in the bank"
    stretched = drawn.clone()
    stretched[:, 2::3] = drawn[:, 2::3] @ drawn[:, 2::3] @ drawn[:, 2::3]  # middle joints bent three times as far
    far = prior_coverage(hand_model, stretched, drawn=400)
    assert far["recorded_nearest_mm"] > 1.3 * far["held_out_nearest_mm"]
