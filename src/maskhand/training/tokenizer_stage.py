"""Stage 1: VQ-MANO on poses of the anatomical prior (paper Section 3.1, Appendix B.1)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.config import to_dict
from maskhand.evaluation.tokenizer import held_out_poses, tokenizer_errors
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.loop import Stage
from maskhand.training.schedule import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TokenizerLoss:
    """Weights of the loss: TokenHMR's; the paper's own were lost in its text (docs/paper.md)."""

    pose: float = 20.0
    """L1 of the rotation matrices."""
    vertices: float = 100.0
    """L1 of the vertices [m]."""
    joints: float = 100.0
    """L1 of the keypoints [m]."""
    commitment: float = 1.0
    """||z - sg[c]||^2; the codebook itself follows a moving average."""


@dataclass(frozen=True, kw_only=True)
class TokenizerTraining:
    """Everything `maskhand train tokenizer` reads from its config file."""

    train: TrainConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    loss: TokenizerLoss = TokenizerLoss()
    vertex_stride: int = 8
    """The vertex loss sees every so manieth vertex."""


class TokenizerObjective(nn.Module):
    """VQ-MANO with its loss, so that a batch goes in and a number comes out."""

    def __init__(self, config: TokenizerTraining, hand_model: HandModel) -> None:
        super().__init__()
        self.tokenizer = VqMano(config.tokenizer)
        self.weights = config.loss
        self.hand_model = hand_model
        self.register_buffer("subset", torch.arange(0, hand_model.vertex_count, config.vertex_stride), persistent=False)

    def forward(self, pose: Float[Tensor, "B 16 3 3"]) -> tuple[Tensor, dict[str, Tensor]]:
        recovered, commitment, _ = self.tokenizer(pose)
        shape = pose.new_zeros(len(pose), self.hand_model.shape_count)
        found = self.hand_model(recovered, shape, vertex_subset=self.subset)
        with torch.no_grad():
            wanted = self.hand_model(pose, shape, vertex_subset=self.subset)
        terms = {
            "pose": (recovered - pose).abs().mean(),
            "vertices": (found.vertices - wanted.vertices).abs().mean(),
            "joints": (found.keypoints - wanted.keypoints).abs().mean(),
            "commitment": commitment,
        }
        loss = sum(getattr(self.weights, name) * term for name, term in terms.items())
        shown = {"vertices_mm": terms["vertices"].detach() * 1000, "commitment": commitment.detach()}
        return loss, shown  # type: ignore[return-value]


class TokenizerStage(Stage):
    def __init__(self, config: TokenizerTraining, hand_model: HandModel) -> None:
        self.config = config
        self.module = TokenizerObjective(config, hand_model)
        self.prior = PosePrior(copy.deepcopy(hand_model))  # stays on the CPU when the module moves
        self.held_out = held_out_poses(hand_model, 1000)

    def batches(self, steps: Iterable[int]) -> Iterator[Float[Tensor, "B 16 3 3"]]:
        return self.prior.batches(self.config.train.batch_size, self.config.train.seed, steps)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        return tokenizer_errors(module.tokenizer, module.hand_model, self.held_out)  # type: ignore[arg-type]

    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return dict(module.tokenizer.state_dict()), {"tokenizer": to_dict(self.config.tokenizer)}  # type: ignore[union-attr, operator]
