"""Stage 2's loss, from a batch to one number: hide tokens, predict them, decode the expectation, compare (paper Section
3.3).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.data.cached import batch_keypoints
from maskhand.fitting.prediction_fit import fit_prediction
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.hand_model.layer import HandModel
from maskhand.keypoints.fusion import fuse_keypoints, keypoint_disagreement
from maskhand.model.maskhand import Context
from maskhand.runtime.hand_network import Encoded, HandNetwork
from maskhand.training import extra_losses
from maskhand.training.masking import HiddenTokens, disturb_keypoints, hide_tokens
from maskhand.training.paper_losses import hand_losses, masked_cross_entropy, weighted_mean
from maskhand.training.part_maps import PARTS
from maskhand.training.settings import ModelTraining
from maskhand.types import Keypoints2D, Prediction


class ModelObjective(nn.Module):
    """The network with its loss. A batch holds the landmark network's keypoints beside maps or crops, and the truth."""

    def __init__(self, config: ModelTraining, network: HandNetwork, hand_model: HandModel) -> None:
        super().__init__()
        self.network, self.hand_model = network, hand_model
        self.paper, self.extra = config.loss, config.extra_loss
        self.masking, self.inference = config.masking, config.inference
        self.part_head: nn.Conv2d | None = None
        if network.keypoint_head is not None:
            network.keypoint_head.keep_intermediate = self.extra.intermediate > 0
            if self.extra.parts or self.extra.parts_depth:  # only teaches; no part of the shipped weights
                self.part_head = nn.Conv2d(network.config.keypoints.width, PARTS + 1, 1)
                nn.init.zeros_(self.part_head.weight)

    def train(self, mode: bool = True) -> ModelObjective:
        super().train(mode)
        self.network.model.tokenizer.eval()  # frozen: its codebook must not follow the data
        return self

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        network, model = self.network, self.network.model
        encoded = network.encode({4: batch["map8"]} if "map8" in batch else batch["image"])
        landmarks, labelled = batch_keypoints(batch["points"]), batch["labelled"].float()
        # In half precision two thirds of the tokens would be other ones: near codes differ by less than its rounding.
        with torch.no_grad(), torch.autocast(labelled.device.type, enabled=False):
            tokens = model.tokenizer.encode(batch["pose"])
        hidden = hide_tokens(tokens, labelled, len(model.codes), self.masking)
        coarse = model.coarse_head(encoded.pyramid[-1])
        context = network.context(encoded, disturb_keypoints(self._pose_2d(encoded, landmarks), self.masking))
        visible = self._visible_codes(context, hidden)
        logits = model.predict(context, visible, hidden.mask)
        # The network may run in bfloat16; millimetres need float32.
        with torch.autocast(logits.device.type, enabled=False):
            log_probabilities = logits.float().log_softmax(-1)
            # Expectation in place of a choice: softmax(logits) @ codebook is differentiable.
            mixture = log_probabilities.exp() @ model.codes
            embedding = torch.where((hidden.mask | hidden.wrong)[..., None], mixture, visible)
            pose = model.tokenizer.decode_embeddings(embedding)
            shape, camera = (values.float() for values in coarse)
            terms = self._hand_terms(batch, pose, shape, camera, labelled)
            terms["mask"] = masked_cross_entropy(log_probabilities, tokens, hidden.mask, labelled)
            if encoded.heatmaps is not None:
                terms |= self._heatmap_terms(batch, encoded, labelled)
                blank = hidden.mask.all(1)
                if self.extra.fitted and bool(blank.any()):
                    hands = self._prediction(
                        encoded, landmarks, (pose, shape, camera), log_probabilities.detach().exp()
                    )
                    prediction = hands.rows(blank)
                    terms = self._with_fitted(terms, prediction, batch["keypoints_3d"][blank], labelled[blank])
        weights = {**vars(self.paper), **vars(self.extra)}
        loss = sum(weights[name] * term for name, term in terms.items())
        return loss, {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}  # type: ignore[union-attr, return-value]

    def _pose_2d(self, encoded: Encoded, landmarks: Keypoints2D) -> Keypoints2D:
        """The two networks' keypoints fused, or, for a share of samples, the landmark network's alone; without
        gradient.
        """
        if encoded.heatmaps is None:
            return landmarks
        own = encoded.heatmaps.keypoints
        fused = fuse_keypoints(own.map(torch.Tensor.detach), landmarks, self.inference.fusion)
        alone = torch.rand(len(landmarks.xy), 1, device=landmarks.xy.device) < self.masking.landmark_keypoints
        return Keypoints2D(
            torch.where(alone[..., None], landmarks.xy, fused.xy),
            torch.where(alone, landmarks.confidence, fused.confidence),
            torch.where(alone, landmarks.depth, fused.depth),
            landmarks.presence,
            fused.convention,
            fused.source,
        )

    def _visible_codes(self, context: Context, hidden: HiddenTokens) -> Float[Tensor, "B L C"]:
        """Code vectors of the visible tokens; of some samples what a first round of the model itself makes of them."""
        model = self.network.model
        visible = model.codes[hidden.visible]
        again = (hidden.own & ~hidden.mask.all(1)).nonzero()[:, 0]
        if not len(again):
            return visible
        with torch.no_grad():
            everything = torch.ones_like(hidden.mask[again])
            first = model.predict(context.rows(again), visible[again], everything).float()
            mixture = (first.softmax(-1) @ model.codes).to(visible)
            visible = visible.index_copy(0, again, mixture)
        torch.clear_autocast_cache()  # PyTorch before 2.11 would go on with weights that it cast without a graph
        return visible

    def _hand_terms(
        self, batch: dict[str, Tensor], pose: Tensor, shape: Tensor, camera: Tensor, labelled: Float[Tensor, " B"]
    ) -> dict[str, Tensor]:
        """Losses on the decoded hand: the paper's on labelled samples, ours on photos."""
        keypoints = self.hand_model.keypoints(pose, shape)
        terms = hand_losses(batch, pose, shape, camera, keypoints, labelled)
        if bool((labelled == 0).any()):
            landmarks = landmark_positions(self.hand_model, pose, shape)
            terms |= extra_losses.photo_losses(batch, shape, camera, landmarks, 1 - labelled)
        if self.extra.collision:
            terms["collision"] = extra_losses.collision_loss(keypoints)
        return terms

    def _heatmap_terms(
        self, batch: dict[str, Tensor], encoded: Encoded, labelled: Float[Tensor, " B"]
    ) -> dict[str, Tensor]:
        """Losses on the head's own 2D keypoints."""
        head, maps = self.network.keypoint_head, encoded.heatmaps
        if head is None or maps is None:
            return {}
        landmarks = landmark_positions(self.hand_model, batch["pose"], batch["shape"])
        target = extra_losses.keypoint_targets(batch, landmarks, labelled)
        terms = extra_losses.heatmap_losses(head, maps, target, labelled, self.extra)
        if self.extra.certainty:
            terms["certainty"] = extra_losses.certainty_loss(maps, target, labelled)
        if self.part_head is not None:
            terms |= extra_losses.part_losses(self.part_head(maps.features), head, target, labelled)
        return terms

    def _with_fitted(
        self, terms: dict[str, Tensor], prediction: Prediction, wanted: Tensor, labelled: Float[Tensor, " B"]
    ) -> dict[str, Tensor]:
        """The losses with those on hands after the fit, which learn through it."""
        fitted = fit_prediction(self.hand_model, prediction, self.inference.fit)
        keypoints = self.hand_model.keypoints(fitted.pose, fitted.shape)
        landmarks = landmark_positions(self.hand_model, fitted.pose, fitted.shape)
        error = weighted_mean((keypoints - wanted).abs(), labelled)
        terms["fitted"] = error + weighted_mean(extra_losses.teacher_error(landmarks, wanted), 1 - labelled)
        if self.extra.collision:
            terms["collision"] = terms["collision"] + extra_losses.collision_loss(keypoints)
        return terms

    def _prediction(
        self,
        encoded: Encoded,
        landmarks: Keypoints2D,
        hand: tuple[Tensor, Tensor, Tensor],
        probabilities: Float[Tensor, "B L K"],
    ) -> Prediction:
        """First rounds as the fit gets them at inference, with gradients; `hand`: pose, shape, camera."""
        heatmaps, (pose, shape, camera) = encoded.heatmaps, hand
        if heatmaps is None:
            raise ValueError("the fit needs keypoints of the network's own")
        token_confidence, tokens = probabilities.max(-1)
        return Prediction(
            pose=pose,
            shape=shape,
            weak_camera=camera,
            keypoints=fuse_keypoints(heatmaps.keypoints, landmarks, self.inference.fusion),
            tokens=tokens,
            token_confidence=token_confidence,
            spread=self.network.spread(self.hand_model, probabilities, pose, shape),
            heatmap_confidence=heatmaps.keypoints.confidence,
            disagreement=keypoint_disagreement(heatmaps.keypoints.xy, landmarks.xy),
            depth_certainty=heatmaps.depth_certainty,
        )
