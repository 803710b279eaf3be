"""The paper's model with what this project adds around it: heat-map keypoints, fused with the landmark network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.backbones.base import Maps, build_backbone
from maskhand.hand_model.layer import HandModel
from maskhand.keypoints.heatmap_head import HeatmapKeypoints, KeypointHead
from maskhand.model.maskhand import Context, MaskHand
from maskhand.model.unmasking import draw_blends
from maskhand.runtime.config import NetworkConfig
from maskhand.runtime.spread import pose_spread, spread_numbers
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.types import Keypoints2D, Prediction


@dataclass(frozen=True)
class Encoded:
    """What the image encoder makes of a batch of crops."""

    pyramid: list[Float[Tensor, "B D _ _"]]
    """Fine to coarse."""
    heatmaps: HeatmapKeypoints | None


class HandNetwork(nn.Module):
    """MaskHand, a keypoint head beside it, and the head's map in the pyramid.

    Args:
        config: sizes.
        tokenizer: VQ-MANO, trained.
        shape_count: shape coefficients of the hand model.

    """

    def __init__(self, config: NetworkConfig, tokenizer: VqMano, shape_count: int = 10) -> None:
        super().__init__()
        self.config = config
        backbone = build_backbone(config.model.encoder.backbone, config.model.encoder.learns)
        self.model = MaskHand(config.model, backbone, tokenizer, shape_count)  # type: ignore[arg-type]
        head = config.keypoints
        self.keypoint_head = KeypointHead(backbone.channels, backbone.base, head) if head.width else None  # type: ignore[arg-type]
        self.keypoint_context = nn.Conv2d(head.width, config.model.width, 2, stride=2) if head.context else None
        if self.keypoint_context is not None:  # without effect at first
            nn.init.zeros_(self.keypoint_context.weight)
            nn.init.zeros_(self.keypoint_context.bias)  # type: ignore[arg-type]

    @property
    def input_px(self) -> int | None:
        """Side of the crops it reads; None if it goes on from the landmark network's maps of them."""
        backbone = self.model.encoder.backbone
        return None if backbone.shares_landmark_trunk else backbone.input_px

    @property
    def device(self) -> torch.device:
        return self.model.position.device

    def encode(self, image: Float[Tensor, "B 3 H W"] | Maps) -> Encoded:
        """Pyramid and heat-map keypoints.

        image: RGB in [0, 1], left hands mirrored; or the landmark network's maps of it, by scale.
        """
        maps = self.model.encoder.maps(image)
        pyramid = self.model.encoder.pyramid(maps)
        heatmaps = None if self.keypoint_head is None else self.keypoint_head(maps)
        if self.keypoint_context is not None and heatmaps is not None:
            level = sorted(self.model.encoder.pyramid.scales, reverse=True).index(2)
            pyramid[level] = pyramid[level] + self.keypoint_context(heatmaps.features)
        return Encoded(pyramid, heatmaps)

    def context(self, encoded: Encoded, keypoints: Keypoints2D) -> Context:
        """What the paper's model knows of the crops before any token."""
        return self.model.context(encoded.pyramid, keypoints)

    @torch.no_grad()
    def spread(
        self,
        hand_model: HandModel,
        probabilities: Float[Tensor, "B L K"],
        pose: Float[Tensor, "B 16 3 3"],
        shape: Float[Tensor, "B S"],
    ) -> Float[Tensor, "B 21"]:
        """How far poses drawn from the tokens' distributions lie from a pose [m] (`pose_spread`)."""
        blends = draw_blends(probabilities, self.model.codes, spread_numbers(probabilities.shape[1]))
        drawn = self.model.tokenizer.decode_embeddings(blends.transpose(1, 2).flatten(0, 1))
        return pose_spread(hand_model, drawn.unflatten(0, (len(pose), -1)), pose, shape)

    def reconstruct(
        self, image: Float[Tensor, "B 3 H W"] | Maps, keypoints: Keypoints2D, hand_model: HandModel, **how: Any
    ) -> Prediction:
        """Hands of crops, `image` as for `encode`; the rest as for `runtime.reconstruction.reconstruct`."""
        from maskhand.runtime.graphs import encoded_values
        from maskhand.runtime.reconstruction import reconstruct
        from maskhand.runtime.torch_engine import TorchEngine

        with torch.inference_mode():
            return reconstruct(
                TorchEngine(self), encoded_values(self, self.encode(image)), keypoints, hand_model, **how
            )
