"""Stage 2's loss from batch to number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import batch_of, keypoints_of, small_config, small_network, train_config

from maskhand.errors import ConfigError
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.model.unmasking import Sampling
from maskhand.runtime.hand_network import HandNetwork
from maskhand.training.extra_losses import ExtraLosses
from maskhand.training.masking import MaskConfig
from maskhand.training.objective import ModelObjective
from maskhand.training.settings import DataConfig, ModelTraining


def settings_of(
    *, extra: dict[str, Any] | None = None, masking: dict[str, Any] | None = None, **network
) -> ModelTraining:
    return ModelTraining(
        train=train_config(),
        data=DataConfig(synthetic="unused"),
        network=small_config(**network),
        extra_loss=ExtraLosses(**(extra or {})),
        masking=MaskConfig(**(masking or {})),
    )


def objective_of(hand_model, *, extra=None, masking=None, **network) -> ModelObjective:
    settings = settings_of(extra=extra, masking=masking, **network)
    return ModelObjective(settings, small_network(**network), hand_model)


def learn(
    objective: ModelObjective, batch: dict[str, torch.Tensor], steps: int, rate: float
) -> list[dict[str, torch.Tensor]]:
    """The terms of every step."""
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=rate)
    shown = []
    for _ in range(steps):
        loss, terms = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shown.append(terms)
    return shown


@pytest.mark.parametrize("head", [None, {}])
def test_the_model_overfits_four_samples(head, hand_model, poses) -> None:
    still = {"no_keypoints": 0.0, "lost_keypoints": 0.0, "keypoint_noise": 0.0}
    objective, batch = objective_of(hand_model, masking=still, width=64, head=head).train(), batch_of(hand_model, poses)
    shown = learn(objective, batch, 250, 2e-3)
    assert shown[-1]["mask"] < 0.1 * shown[0]["mask"]
    network = objective.eval().network
    keypoints = keypoints_of(batch["points"])
    read = lambda **how: network.reconstruct({4: batch["map8"]}, keypoints, hand_model, **how)  # noqa: E731
    right = (read(sampling=Sampling(mean=False)).tokens == network.model.tokenizer.encode(batch["pose"])).float().mean()
    assert right > 0.95, f"{right:.0%} of the tokens are right"
    draws = [read(sampling=Sampling(temperature=5.0), rng=np.random.default_rng(seed)).pose for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.allclose(draws[0], draws[2], atol=0.01), "codes are drawn"


def test_hourglasses_are_supervised_early_and_parts_are_learned(hand_model, poses) -> None:
    extra = {"intermediate": 0.5, "parts": 1.0, "parts_depth": 1.0, "bone_depth": 1.0}
    objective = objective_of(hand_model, extra=extra, masking={"own_tokens": 0.5}, head={"hourglasses": 2}).train()
    shown = learn(objective, batch_of(hand_model, poses), 120, 3e-3)
    for term, share in (("parts", 0.6), ("parts_depth", 0.85), ("depth", 0.6), ("intermediate", 0.8)):
        assert torch.stack([terms[term] for terms in shown[-10:]]).mean() < share * shown[0][term], term
    assert not any("part_head" in key for key in objective.network.state_dict()), "it only teaches"


@pytest.mark.parametrize("labelled", [True, False])
def test_training_through_the_fit_teaches_pose_keypoints_and_certainty(hand_model, poses, labelled) -> None:
    extra = {"fitted": 1.0, "certainty": 1.0, "collision": 1.0}
    head = {"depth_certainty": True}
    objective = objective_of(hand_model, extra=extra, masking={"all_hidden": 1.0}, head=head)
    batch = batch_of(hand_model, poses)
    if not labelled:  # the teacher's are the landmark network's points, in a size of its own
        landmarks = landmark_positions(hand_model, batch["pose"], batch["shape"])
        batch |= {"keypoints_3d": 1.3 * (landmarks - landmarks[:, :1]), "labelled": torch.zeros(4, dtype=torch.bool)}
    loss, terms = objective(batch)
    assert terms["fitted"] > 0
    loss.backward()
    network = objective.network
    taught = [network.keypoint_head.readout.weight, network.model.synthesizer.head.point.weight]
    for weight in taught + [network.keypoint_head.certainty.weight] * labelled:
        assert weight.grad.isfinite().all() and weight.grad.abs().max() > 0


@pytest.mark.parametrize("extra", ["fitted", "bone_depth", "parts", "certainty"])
def test_losses_on_keypoints_need_a_head_that_finds_some(extra) -> None:
    with pytest.raises(ConfigError, match="finds no 2D keypoints"):
        settings_of(extra={extra: 1.0})
    with pytest.raises(ConfigError, match="depth_certainty=true"):
        settings_of(extra={"certainty": 1.0}, head={})
    with pytest.raises(ConfigError, match=r"network\.keypoints\.hourglasses=2"):
        settings_of(extra={"intermediate": 1.0}, head={"hourglasses": 1})


def recorded_predictions(network: HandNetwork, monkeypatch) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Embeddings, masks and logits of every prediction to come."""
    predict, seen = network.model.predict, []

    def recorded(context, embedding, mask):
        logits = predict(context, embedding, mask)
        seen.append((embedding, mask, logits))
        return logits

    monkeypatch.setattr(network.model, "predict", recorded)
    return seen


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_a_photo_shows_no_tokens_but_the_models_own(own, hand_model, poses, monkeypatch) -> None:
    objective = objective_of(hand_model, masking={"low": 0.5, "high": 0.5, "own_tokens": own})
    batch = batch_of(hand_model, poses) | {"labelled": torch.zeros(4, dtype=torch.bool)}
    seen = recorded_predictions(objective.network, monkeypatch)
    objective(batch)
    embedding, mask, _ = seen[-1]
    if own:
        (_, hidden, first), _ = seen
        assert hidden.all() and not mask.all()
        torch.testing.assert_close(embedding, first.softmax(-1) @ objective.network.model.codes)
    else:
        assert len(seen) == 1 and mask.all()


def test_all_hidden_shows_no_token(hand_model, poses, monkeypatch) -> None:
    objective = objective_of(hand_model, masking={"low": 0.5, "high": 0.5, "all_hidden": 0.5})
    seen = recorded_predictions(objective.network, monkeypatch)
    torch.manual_seed(0)
    for _ in range(4):
        objective(batch_of(hand_model, poses))
    none = [row.all().item() for _, mask, _ in seen for row in mask]
    assert 3 <= sum(none) <= 13, f"{sum(none)} of 16 samples show no token"


def test_a_photo_without_labels_teaches_through_its_keypoints_alone(hand_model, poses) -> None:
    torch.manual_seed(0)
    objective = objective_of(hand_model)
    batch = batch_of(hand_model, poses) | {"labelled": torch.zeros(4, dtype=torch.bool)}
    losses = []
    for truth in (batch, {**batch, "pose": poses[4:8], "shape": torch.randn(4, 10)}):
        torch.manual_seed(5)
        losses.append(objective(truth)[0])
    assert torch.isfinite(losses[0])
    torch.testing.assert_close(losses[0], losses[1])
