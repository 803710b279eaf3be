"""The Context-Guided Masked Transformer, assembled (paper Figure 2): crops and 2D keypoints in, pose, shape and camera out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maskhand.config import DEFAULT_STEPS
from maskhand.geometry.alignment import align_similarity
from maskhand.hand_model.layer import HandModel
from maskhand.hand_model.skeleton import KEYPOINT_TO_MODEL
from maskhand.model.coarse_head import CoarseHead
from maskhand.model.config import ModelConfig
from maskhand.model.encoder import Encoder, Maps
from maskhand.model.keypoint_head import FoundKeypoints, KeypointHead, disagreement, merged_keypoints
from maskhand.model.refinement import PoseGraph, Refinement
from maskhand.model.synthesizer import CodeGeometry, Synthesizer, token_keypoints
from maskhand.model.unmasking import unmask
from maskhand.records import Prediction
from maskhand.tokenizer.vq_mano import VqMano

SPREAD_DRAWS = 6
_JOINT_TO_KEYPOINT = tuple(KEYPOINT_TO_MODEL.index(joint) for joint in range(16))


@dataclass(frozen=True)
class Looked:
    """What the image encoder makes of a batch of crops."""

    maps: Maps
    found: FoundKeypoints | None
    """The model's own 2D keypoints, if it has a head for them."""


@dataclass(frozen=True)
class Context:
    """What is known of a batch of crops before any token: computed once for all rounds."""

    values: list[list[Tensor]]
    """Per synthesizer layer, the image features its attention reads."""
    pose_context: Float[Tensor, "B 21 D"] | None
    reference: Float[Tensor, "B L 2"]
    """Where each token looks first, in [-1, 1]."""
    book: CodeGeometry
    shape: Float[Tensor, "B 10"]
    weak_camera: Float[Tensor, "B 3"]

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
            shape=again(self.shape),
            weak_camera=again(self.weak_camera),
        )


class MaskHandModel(nn.Module):
    """Encoder, coarse head, refinement and synthesizer around a frozen tokenizer."""

    def __init__(self, config: ModelConfig, tokenizer: VqMano, shape_count: int = 10) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer.requires_grad_(False)
        length, code_dim = tokenizer.config.token_count, tokenizer.config.code_dim
        self.encoder = Encoder(config.encoder, config.width)
        rows, columns = self.encoder.backbone.base
        self.coarse_head = CoarseHead(config, rows * columns, shape_count)
        self.keypoint_head = (
            KeypointHead(self.encoder.backbone.channels, self.encoder.backbone.base, config) if config.keypoint_width else None
        )
        self.keypoint_context = nn.Conv2d(config.keypoint_width, config.width, 2, stride=2) if config.keypoint_context else None
        if self.keypoint_context is not None:  # without effect at first, so that trained weights can be given one
            nn.init.zeros_(self.keypoint_context.weight)
            nn.init.zeros_(self.keypoint_context.bias)  # type: ignore[arg-type]
        # Without refinement the 2D pose still says where each token looks first.
        self.pose_graph = PoseGraph(config) if config.pose_context and config.refinement_blocks else None
        self.embed = nn.Linear(code_dim, config.width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(config.width))
        self.place = nn.Parameter(0.02 * torch.randn(length, config.width))
        self.reference = nn.Parameter(torch.zeros(length, 2))
        self.refinement = Refinement(config, length)
        levels = len({1, *config.encoder.scales})
        self.synthesizer = Synthesizer(config, levels, code_dim)
        self.token_keypoint: Tensor
        self.register_buffer("token_keypoint", token_keypoints(length, _JOINT_TO_KEYPOINT), persistent=False)

    @property
    def borrowed(self) -> str:
        """Prefix of the weights that are the landmark network's own, which a model file leaves out."""
        return "encoder.backbone.trunk." if self.config.encoder.backbone == "hand" and self.reads_maps else "\0"

    @property
    def reads_maps(self) -> bool:
        """Whether the landmark network's own feature maps can take the image's place."""
        return self.config.encoder.backbone == "hand" and self.config.encoder.learns != "all"

    @property
    def wants_px(self) -> int | None:
        """Side of the crops it reads; None if it can do with the landmark network's maps."""
        return None if self.reads_maps else self.encoder.backbone.input_px

    @property
    def codes(self) -> Float[Tensor, "K C"]:
        return self.tokenizer.codebook.codes

    def look(self, image: Float[Tensor, "B 3 H W"] | Maps) -> Looked:
        """The backbone's maps and the model's own keypoints.

        image: RGB in [0, 1], or cached maps of the frozen backbone; left hands come mirrored.
        """
        maps = self.encoder.maps(image)
        return Looked(maps, None if self.keypoint_head is None else self.keypoint_head(maps))

    def observe(self, looked: Looked, keypoints: Float[Tensor, "B 21 4"]) -> Context:
        """Everything that does not depend on the tokens.

        Args:
            looked: what the encoder made of the crops.
            keypoints: x, y in [-1, 1] across the crop, confidence (0: unknown), depth behind the wrist in the unit of x and y
                (NaN: unknown; read only if `config.pose_depth`).

        """
        pyramid = self.encoder.pyramid(looked.maps)
        if self.keypoint_context is not None and looked.found is not None:
            place = sorted(self.encoder.pyramid.scales, reverse=True).index(2)
            pyramid[place] = pyramid[place] + self.keypoint_context(looked.found.features)
        shape, weak_camera = self.coarse_head(pyramid[-1])
        reference = self.reference.expand(len(keypoints), -1, -1)
        pose_context = None if self.pose_graph is None else self.pose_graph(keypoints)
        if self.config.pose_context:
            own = keypoints[:, self.token_keypoint]  # (B, L, 4)
            rows, columns = self.encoder.backbone.base
            places = own[..., :2].clamp(-1.5, 1.5) * own.new_tensor([rows / columns, 1.0])  # a narrower base sees the middle only
            reference = torch.where(own[..., 2:3] > 0, places, 0.0) + reference
        return Context(
            self.synthesizer.prepare(pyramid), pose_context, reference, CodeGeometry.of(self.codes), shape, weak_camera
        )

    def predict(self, context: Context, embedding: Float[Tensor, "B L C"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L K"]:
        """Logits of every token's code from the code vectors of the known ones; masked tokens are seen as [MASK]."""
        x = torch.where(mask[..., None], self.mask_token, self.embed(embedding)) + self.place
        refined = self.refinement(x, context.pose_context)
        return self.synthesizer(refined, context.reference, context.values, context.book)

    @torch.inference_mode()
    def reconstruct(
        self,
        image: Float[Tensor, "B 3 H W"] | Maps,
        keypoints: Float[Tensor, "B 21 4"],
        hand_model: HandModel,
        *,
        instead: bool = False,
        steps: int = DEFAULT_STEPS,
        temperature: float = 0.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
        from_codes: bool | None = None,
        soft: bool | None = None,
        draws: int = 1,
    ) -> Prediction:
        """One hand per crop, its surest tokens first; or several, drawn one by one.

        Args:
            image: as for `look`.
            keypoints: as for `observe`: the landmark network's, which are merged with the model's own if it finds any.
            instead: take them as they are, because they are somebody's own.
            steps: rounds of unmasking.
            temperature, top_k, generator: how codes are drawn; temperature 0 takes the likeliest [ours; the paper draws].
            from_codes: decode the chosen codes themselves instead of the mean of the codes under the distribution that chose
                them [ours]. The mean is the better estimate of one answer, the codes are the sharper sample; left out, codes are
                decoded if they are drawn (temperature above 0).
            soft: the mean likewise for what later rounds see of accepted tokens (`unmask`); left out, if they are not drawn.
            draws: hands per crop, one crop's after another's; the image is encoded once.

        """
        drawn = temperature > 0
        from_codes, soft = drawn if from_codes is None else from_codes, not drawn if soft is None else soft
        looked = self.look(image)
        apart, sure = keypoints.new_full((len(keypoints),), torch.nan), torch.ones_like(keypoints[..., 2])
        if looked.found is not None:
            sure = looked.found.keypoints[..., 2]
        certainty = None
        if looked.found is not None and not instead:
            certainty = looked.found.depth_certainty
            apart = disagreement(looked.found.keypoints, keypoints)
            keypoints = merged_keypoints(looked.found.keypoints, keypoints)
        context = self.observe(looked, keypoints)
        if draws > 1:
            context = context.rows(torch.arange(len(keypoints), device=keypoints.device).repeat_interleave(draws))
            keypoints, sure, apart = (x.repeat_interleave(draws, 0) for x in (keypoints, sure, apart))
            certainty = None if certainty is None else certainty.repeat_interleave(draws, 0)
        result = unmask(
            lambda embedding, mask: self.predict(context, embedding, mask),
            self.codes,
            batch=len(keypoints),
            length=self.tokenizer.config.token_count,
            steps=steps,
            temperature=temperature,
            top_k=top_k,
            generator=generator,
            soft=soft,
        )
        pose = self.tokenizer.decode(result.tokens) if from_codes else self.tokenizer.decode_embeddings(result.embedding)
        return Prediction(
            pose=pose,
            shape=context.shape,
            weak_camera=context.weak_camera,
            keypoints=keypoints,
            tokens=result.tokens,
            token_confidence=result.confidence,
            spread=self.spread(result.probabilities, pose, context.shape, hand_model),
            head_confidence=sure,
            apart=apart,
            depth_certainty=certainty,
            round_confidence=result.by_round,
        )

    @torch.no_grad()
    def spread(
        self,
        probabilities: Float[Tensor, "B L K"],
        pose: Float[Tensor, "B 16 3 3"],
        shape: Float[Tensor, "B 10"],
        hand_model: HandModel,
    ) -> Float[Tensor, "B 21"]:
        """Root mean square distance [m] of the answer's keypoints to those of poses drawn from the tokens' distributions."""
        # The same uniform numbers for every hand, so that its answer does not depend on its neighbours in the batch.
        length, codes = probabilities.shape[1:]
        uniform = torch.rand(length, SPREAD_DRAWS, generator=torch.Generator().manual_seed(0)).to(pose.device)
        below = probabilities.cumsum(-1)  # (B, L, K)
        drawn = torch.searchsorted(below, uniform.expand(len(below), -1, -1).contiguous() * below[..., -1:])
        tokens = drawn.clamp(max=codes - 1).permute(0, 2, 1).flatten(0, 1)  # (B S, L)
        poses = self.tokenizer.decode(tokens)
        others = hand_model.keypoints(poses, shape.repeat_interleave(SPREAD_DRAWS, 0)).unflatten(0, (-1, SPREAD_DRAWS))
        own = hand_model.keypoints(pose, shape)[:, None]
        # Aligned first: what is asked is the hand's pose, not where its wrist points.
        others = align_similarity(others, own.expand_as(others))
        return (others - own).square().sum(-1).mean(1).sqrt()
