"""The paper's model with what this project adds around it: heat-map keypoints, fused with the landmark network's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.backbones.base import Maps, build_backbone
from maskhand.errors import ConfigError
from maskhand.geometry.crop import CropConfig
from maskhand.hand_model.layer import HandModel
from maskhand.inference.spread import pose_spread
from maskhand.keypoints.fusion import FusionConfig, fuse_keypoints, keypoint_disagreement
from maskhand.keypoints.heatmap_head import HeatmapKeypoints, KeypointHead, KeypointHeadConfig
from maskhand.model.config import ModelConfig
from maskhand.model.maskhand import Context, MaskHand
from maskhand.model.unmasking import Sampling
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.types import Keypoints2D, Prediction


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that the weights' shapes and meaning depend on, beside the tokenizer."""

    model: ModelConfig = ModelConfig()
    keypoints: KeypointHeadConfig = KeypointHeadConfig()
    crop: CropConfig = CropConfig()

    def __post_init__(self) -> None:
        if self.keypoints.context and 2 not in self.model.encoder.scales:
            raise ConfigError("keypoints.context needs 2 among model.encoder.scales")


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

    def fuse(self, encoded: Encoded, keypoints: Keypoints2D, config: FusionConfig) -> Keypoints2D:
        """The 2D pose: the heat maps' and the landmark network's keypoints as one; a user's as they are."""
        if encoded.heatmaps is None or keypoints.source == "user":
            return keypoints
        return fuse_keypoints(encoded.heatmaps.keypoints, keypoints, config)

    def context(self, encoded: Encoded, keypoints: Keypoints2D) -> Context:
        """What the paper's model knows of the crops before any token."""
        return self.model.context(encoded.pyramid, keypoints)

    @torch.inference_mode()
    def reconstruct(
        self,
        image: Float[Tensor, "B 3 H W"] | Maps,
        keypoints: Keypoints2D,
        hand_model: HandModel,
        *,
        steps: int = 1,
        sampling: Sampling = Sampling(),
        generator: torch.Generator | None = None,
        fusion: FusionConfig = FusionConfig(),
        draws: int = 1,
    ) -> Prediction:
        """One hand per crop, its surest tokens first; or several, drawn one by one.

        Args:
            image: as for `encode`.
            keypoints: in the crop, the landmark network's or a user's.
            hand_model: right hand, for the spread of keypoints.
            steps: rounds of unmasking.
            sampling: how codes are chosen.
            generator: chance, where they are drawn.
            fusion: how the two networks' keypoints are fused.
            draws: hands per crop, one crop's after another's; the image is encoded once.

        """
        encoded = self.encode(image)
        heatmaps = encoded.heatmaps
        pose_2d = self.fuse(encoded, keypoints, fusion)
        disagreement, certainty = keypoints.xy.new_full((len(keypoints.xy),), torch.nan), None
        confidence = torch.ones_like(keypoints.confidence) if heatmaps is None else heatmaps.keypoints.confidence
        if heatmaps is not None and keypoints.source != "user":
            certainty = heatmaps.depth_certainty
            disagreement = keypoint_disagreement(heatmaps.keypoints.xy, keypoints.xy)
        context = self.context(encoded, pose_2d)
        if draws > 1:
            rows = torch.arange(len(keypoints.xy), device=keypoints.xy.device).repeat_interleave(draws)
            context, pose_2d = context.rows(rows), pose_2d.rows(rows)
            disagreement, confidence = disagreement[rows], confidence[rows]
            certainty = None if certainty is None else certainty[rows]
        hand = self.model.decode(context, steps=steps, sampling=sampling, generator=generator)
        return Prediction(
            pose=hand.pose,
            shape=hand.shape,
            weak_camera=hand.weak_camera,
            keypoints=pose_2d,
            tokens=hand.unmasked.tokens,
            token_confidence=hand.unmasked.confidence,
            spread=pose_spread(self.model.tokenizer, hand_model, hand.unmasked.probabilities, hand.pose, hand.shape),
            heatmap_confidence=confidence,
            disagreement=disagreement,
            depth_certainty=certainty,
            round_confidence=hand.unmasked.by_round,
        )
