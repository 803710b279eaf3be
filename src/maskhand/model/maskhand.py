"""MaskHand, assembled (paper Figure 2): crops and a 2D pose in; pose tokens, shape and camera out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maskhand.backbones.base import Backbone
from maskhand.hand_model.skeleton import KEYPOINT_TO_MODEL
from maskhand.model.coarse_head import CoarseHead
from maskhand.model.config import ModelConfig
from maskhand.model.encoder import Encoder
from maskhand.model.refinement import PoseGraph, Refinement
from maskhand.model.synthesizer import CodeGeometry, Synthesizer, token_keypoints
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.types import Keypoints2D

_JOINT_TO_KEYPOINT = tuple(KEYPOINT_TO_MODEL.index(joint) for joint in range(16))


@dataclass(frozen=True)
class Context:
    """What is known of a batch of crops before any token: computed once for all rounds."""

    values: list[list[Tensor]]
    """Per synthesizer layer, the image features its attention reads."""
    pose_context: Float[Tensor, "B 21 D"] | None
    reference: Float[Tensor, "B L 2"]
    """Reference point of each token, in [-1, 1]."""
    book: CodeGeometry

    def rows(self, crops: Int[Tensor, " n"]) -> Context:
        """These crops, in this order."""
        count = len(self.reference)

        def again(x: Tensor) -> Tensor:
            return x.unflatten(0, (count, -1))[crops].flatten(0, 1)  # heads stay together

        return replace(
            self,
            values=[[again(level) for level in layer] for layer in self.values],
            pose_context=None if self.pose_context is None else again(self.pose_context),
            reference=again(self.reference),
        )


class MaskHand(nn.Module):
    """Encoder, coarse head, refinement and synthesizer around a frozen tokenizer.

    Args:
        config: sizes.
        backbone: of the image encoder.
        tokenizer: VQ-MANO, trained; it is frozen.
        shape_count: shape coefficients of the hand model.

    """

    def __init__(self, config: ModelConfig, backbone: Backbone, tokenizer: VqMano, shape_count: int = 10) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer.requires_grad_(False)
        length, code_dim = tokenizer.config.token_count, tokenizer.config.code_dim
        self.encoder = Encoder(backbone, config.encoder, config.width)
        rows, columns = backbone.base
        self.coarse_head = CoarseHead(config, rows * columns, shape_count)
        # Without refinement the 2D pose still gives each token its reference point.
        self.pose_graph = PoseGraph(config) if config.pose_context and config.refinement_blocks else None
        self.embed = nn.Linear(code_dim, config.width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(config.width))
        self.position = nn.Parameter(0.02 * torch.randn(length, config.width))
        self.reference = nn.Parameter(torch.zeros(length, 2))
        self.refinement = Refinement(config, length)
        self.synthesizer = Synthesizer(config, len({1, *config.encoder.scales}), code_dim)
        self.token_keypoint: Tensor
        self.register_buffer("token_keypoint", token_keypoints(length, _JOINT_TO_KEYPOINT), persistent=False)

    @property
    def codes(self) -> Float[Tensor, "K C"]:
        return self.tokenizer.codebook.codes

    def context(self, pyramid: list[Float[Tensor, "B D _ _"]], keypoints: Keypoints2D) -> Context:
        """Everything that does not depend on the tokens.

        Args:
            pyramid: levels of the image encoder, fine to coarse.
            keypoints: the 2D pose in the crop; its depth is read only if `config.pose_depth`.

        """
        return Context(self.synthesizer.prepare(pyramid), *self.pose_context(keypoints), self.book)

    @property
    def book(self) -> CodeGeometry:
        return CodeGeometry.of(self.codes)

    def pose_context(self, keypoints: Keypoints2D) -> tuple[Tensor | None, Float[Tensor, "B L 2"]]:
        """The 2D pose as one vector per keypoint, and the reference point of each token."""
        reference = self.reference.expand(keypoints.xy.shape[0], -1, -1)  # shape: traced, len() is not
        if self.config.pose_context:
            xy, known = keypoints.xy[:, self.token_keypoint], keypoints.confidence[:, self.token_keypoint, None] > 0
            rows, columns = self.encoder.backbone.base
            narrow = xy.new_tensor([rows / columns, 1.0])  # a narrower base sees the middle of the crop only
            reference = torch.where(known, xy.clamp(-1.5, 1.5) * narrow, 0.0) + reference
        return None if self.pose_graph is None else self.pose_graph(keypoints), reference

    def predict(
        self, context: Context, embedding: Float[Tensor, "B L C"], mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B L K"]:
        """Logits of every token's code from the code vectors of the known ones; masked tokens are seen as [MASK]."""
        x = torch.where(mask[..., None], self.mask_token, self.embed(embedding)) + self.position
        x = self.refinement(x, context.pose_context)
        return self.synthesizer(x, context.reference, context.values, context.book)

    def mean_code(self, probabilities: Float[Tensor, "B L K"]) -> Float[Tensor, "B L C"]:
        """The mean code vectors under distributions: softmax(logits) @ codebook (Section 3.3)."""
        return probabilities @ self.codes
