"""The loss of stage 2: masked tokens, and everything that they, the keypoints and the fit say of the hand (paper Section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from maskhand.geometry.fixed_tensor import fixed_tensor
from maskhand.data.augmentation import warped
from maskhand.detection.landmark_network import INPUT_PX, shared_landmark_network
from maskhand.geometry.camera import project_in_crop, scale_in_crop, translation_from_weak
from maskhand.hand_model.collision import penetration_depths
from maskhand.hand_model.joint_conventions import landmark_positions
from maskhand.hand_model.layer import HandModel
from maskhand.hand_model.skeleton import KEYPOINT_PARENTS
from maskhand.fitting.prediction_fit import refined
from maskhand.keypoints.heatmap_head import FoundKeypoints, KeypointHead, disagreement, merged_keypoints
from maskhand.model.maskhand import Looked, MaskHandModel
from maskhand.model.unmasking import random_mask
from maskhand.types import Prediction
from maskhand.training.losses import masked_cross_entropy, scaled_to, weighted_mean
from maskhand.training.part_maps import PARTS, part_maps
from maskhand.training.settings import ModelTraining

EXPECTED_DEPTH_ERROR = 0.07
"""Mean error of a keypoint's depth at which its certainty is 1, crop from -1 to 1 [ours]."""


class ModelObjective(nn.Module):
    """The network with its loss."""

    def __init__(self, config: ModelTraining, model: MaskHandModel, hand_model: HandModel) -> None:
        super().__init__()
        self.model, self.hand_model = model, hand_model
        self.weights, self.masking, self.warp = config.loss, config.masking, config.data.warp
        self.part_head: nn.Conv2d | None = None
        if model.keypoint_head is not None:
            model.keypoint_head.tells_early = config.loss.early > 0
            if config.loss.parts or config.loss.parts_depth:  # what it reads off the map only teaches: it is not shipped
                self.part_head = nn.Conv2d(model.config.keypoint_width, PARTS + 1, 1)
                nn.init.zeros_(self.part_head.weight)

    def train(self, mode: bool = True) -> ModelObjective:
        super().train(mode)
        self.model.tokenizer.eval()  # frozen: its codebook must not follow the data
        return self

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        model = self.model
        if "image" in batch:
            image, batch = warped(batch, self.warp)
            looked, points = self._seen(image, batch["keypoints_2d"])
        else:
            looked, points = model.look({4: batch["map8"]}), batch["points"]
        labelled = batch["labelled"].float()
        # In half precision two thirds of the tokens would be other ones: near codes differ by less than its rounding.
        with torch.no_grad(), torch.autocast(labelled.device.type, enabled=False):
            tokens = model.tokenizer.encode(batch["pose"])
        mask = random_mask(*tokens.shape, low=self.masking.low, high=self.masking.high, device=tokens.device)
        mask = mask | (torch.rand(len(mask), 1, device=mask.device) < self.masking.all_hidden)
        own = torch.rand(len(mask), device=mask.device) < self.masking.own_tokens
        mask = mask | ((labelled == 0) & ~own)[:, None]  # a photo has no tokens to show but the model's own
        wrong = (torch.rand_like(mask, dtype=torch.float32) < self.masking.wrong_tokens) & ~mask
        shown = torch.where(wrong, torch.randint_like(tokens, len(model.codes)), tokens)
        theirs = points
        if looked.found is not None:
            outside = torch.rand(len(points), 1, 1, device=points.device) < self.masking.outside_keypoints
            points = torch.where(outside, points, merged_keypoints(looked.found.keypoints.detach(), points))
        context = model.observe(looked, self._disturbed(points))
        visible = model.codes[shown]
        looked_twice = (own & ~mask.all(1)).nonzero()[:, 0]
        if len(looked_twice):
            with torch.no_grad():
                everything = torch.ones_like(mask[looked_twice])
                first = model.predict(context.rows(looked_twice), visible[looked_twice], everything).float()
                mixture = (first.softmax(-1) @ model.codes).to(visible)  # in half precision on a GPU, near enough here
                visible = visible.index_copy(0, looked_twice, mixture)
            torch.clear_autocast_cache()  # PyTorch before 2.11 would go on with weights that it cast without a graph
        logits = model.predict(context, visible, mask)
        # The network may run in bfloat16; millimetres need float32.
        with torch.autocast(logits.device.type, enabled=False):
            log_probabilities = logits.float().log_softmax(-1)
            # Expectation in place of a choice: softmax(logits) @ codebook is differentiable.
            mixture = log_probabilities.exp() @ model.codes
            embedding = torch.where((mask | wrong)[..., None], mixture, visible)
            pose = model.tokenizer.decode_embeddings(embedding)
            terms = self._terms(batch, pose, context.shape.float(), context.weak_camera.float(), labelled)
            terms["mask"] = masked_cross_entropy(log_probabilities, tokens, mask, labelled)
            if looked.found is not None:
                terms |= self._found_terms(batch, looked.found, labelled)
            blank = mask.all(1)
            if self.weights.fitted and looked.found is not None and bool(blank.any()):
                fitted = self._fitted(
                    looked.found.keypoints[blank],
                    theirs[blank],
                    pose[blank],
                    context.shape[blank].float(),
                    context.weak_camera[blank].float(),
                    log_probabilities.detach()[blank],
                    None if looked.found.depth_certainty is None else looked.found.depth_certainty[blank],
                )
                off, off_teacher = self._off_in_space(batch["keypoints_3d"][blank], fitted.pose, fitted.shape)
                terms["fitted"] = weighted_mean(off, labelled[blank]) + weighted_mean(off_teacher, 1 - labelled[blank])
                if self.weights.cuts:
                    terms["cuts"] = terms["cuts"] + self._cuts(fitted.pose, fitted.shape)
        loss = sum(getattr(self.weights, name) * term for name, term in terms.items())
        shown_terms = {"loss": loss, "ce": terms["mask"], "joints_mm": 1000 * terms["joints"], "image": terms["image"]}  # type: ignore[dict-item]
        told = ("found", "found_depth", "parts", "parts_depth", "certainty", "cuts")
        shown_terms |= {name: terms[name] for name in told if name in terms}
        if "fitted" in terms:
            shown_terms["fitted_mm"] = 1000 * terms["fitted"]
        if "teacher" in terms:
            shown_terms["teacher_mm"] = 1000 * terms["teacher"]
        return loss, {key: value.detach() for key, value in shown_terms.items()}  # type: ignore[return-value]

    def _seen(self, image: Tensor, true: Tensor) -> tuple[Looked, Tensor]:
        """What the model sees in crops, and the landmark network's keypoints of them, errors and all: what it will get at
        inference.

        true: (B, 21, 2) keypoints, which say how a crop is turned that shows its hand as it comes.
        """
        network = shared_landmark_network().to(image.device)
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):  # bfloat16 counts in whole pixels from 128 on
            small = image
            if image.shape[-1] != INPUT_PX:
                small = interpolate(image, size=(INPUT_PX, INPUT_PX), mode="bilinear", antialias=True)
            if self.model.config.upright_crop:
                maps, pooled = network.trunk(small)
                points = network.read(pooled).keypoints
            else:
                points = network.keypoints_as_upright(small, true)
        if self.model.reads_maps and self.model.config.upright_crop:
            return self.model.look({4: maps[8]}), points
        return self.model.look(image), points

    def _terms(
        self, batch: dict[str, Tensor], pose: Tensor, shape: Tensor, weak_camera: Tensor, labelled: Tensor
    ) -> dict[str, Tensor]:
        """The losses on what the tokens mean: MANO parameters, 3D and 2D keypoints."""
        off, off_teacher = self._off_in_space(batch["keypoints_3d"], pose, shape)
        keypoints, marks = self.hand_model.keypoints(pose, shape), landmark_positions(self.hand_model, pose, shape)
        seen = torch.where(labelled[:, None, None] > 0, keypoints, marks)
        flat = project_in_crop(seen, translation_from_weak(weak_camera))
        off_image = (flat - batch["keypoints_2d"]).abs()
        terms = {
            "pose": weighted_mean((pose - batch["pose"]).abs(), labelled),
            "shape": weighted_mean((shape - batch["shape"]).abs(), labelled),
            "joints": weighted_mean(off, labelled),
            "image": weighted_mean(off_image, labelled),
        }
        if self.weights.cuts:
            terms["cuts"] = self._cuts(pose, shape)
        if bool((labelled == 0).any()):
            photo = 1 - labelled
            terms["teacher"] = weighted_mean(off_teacher, photo)
            terms["teacher_image"] = weighted_mean(off_image, photo)
            terms["prior"] = weighted_mean(shape.square(), photo)
        return terms

    def _cuts(self, pose: Tensor, shape: Tensor) -> Tensor:
        """How deep the bones of a hand cut each other, in all [m]; the mean over hands."""
        return penetration_depths(self.hand_model.keypoints(pose, shape))[0].clamp(min=0).sum(1).mean()

    def _found_terms(self, batch: dict[str, Tensor], found: FoundKeypoints, labelled: Tensor) -> dict[str, Tensor]:
        """The losses on the model's own 2D keypoints: they are to be the landmark network's places, as photos' teachers are."""
        head: KeypointHead = self.model.keypoint_head  # type: ignore[assignment]
        space, places = batch["keypoints_3d"], batch["keypoints_2d"]
        scale = scale_in_crop(space, places)[:, None, None]
        marks = landmark_positions(self.hand_model, batch["pose"], batch["shape"])
        known = (labelled > 0)[:, None, None]
        places = torch.where(known, places + scale * (marks - space)[..., :2], places)
        space = torch.where(known, marks, space)
        inside = (places.abs() < 1).all(-1).float()
        depth = (scale * (space - space[:, :1]))[..., 2]
        heat = head.wanted_heat(places)
        everyone, by_depth = torch.ones_like(labelled), labelled + self.weights.photo_depth * (1 - labelled)

        parents = fixed_tensor(KEYPOINT_PARENTS[1:], depth.device)

        def off(answer: FoundKeypoints) -> dict[str, Tensor]:
            deeper = answer.keypoints[..., 3] - depth
            return {
                "found": weighted_mean((answer.keypoints[..., :2] - places).abs(), everyone),
                "heat": weighted_mean(-(heat * answer.log_heat).sum(-1) * inside, everyone),
                "found_depth": weighted_mean(deeper.abs(), by_depth),
                "bones": weighted_mean((deeper[:, 1:] - deeper[:, parents]).abs(), by_depth),
            }

        terms = off(found)
        if found.early:
            early = [off(answer) for answer in found.early]
            terms["early"] = sum(getattr(self.weights, name) * answer[name] for answer in early for name in answer) / len(early)  # type: ignore[assignment]
        if self.weights.certainty and found.depth_certainty is not None:
            off_by = (found.keypoints[..., 3].detach() - depth).abs() / EXPECTED_DEPTH_ERROR
            terms["certainty"] = weighted_mean(off_by * found.depth_certainty - found.depth_certainty.log(), labelled)
        if self.part_head is not None:
            logits, deep = self.part_head(found.features).flatten(2).split([PARTS, 1], 1)
            part, surface = part_maps(torch.cat([places, depth[..., None]], -1), scale[:, 0, 0], head.x, head.y)
            terms["parts"] = weighted_mean(cross_entropy(logits, part, reduction="none"), labelled)
            terms["parts_depth"] = weighted_mean((deep[:, 0] - surface).abs() * (part > 0), labelled)
        return terms

    def _off_in_space(self, wanted: Tensor, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """How far keypoints (B, 21, 3) [m] lie off the truth, and off a teacher's, in the teacher's size.

        A photo's teacher is the landmark network, which means other places by some of its points than our hand's keypoints.
        """
        marks = landmark_positions(self.hand_model, pose, shape)
        off_teacher = (scaled_to(marks - marks[:, :1], wanted) - wanted).abs()
        return (self.hand_model.keypoints(pose, shape) - wanted).abs(), off_teacher

    def _fitted(
        self,
        found: Tensor,
        theirs: Tensor,
        pose: Tensor,
        shape: Tensor,
        weak_camera: Tensor,
        log_probabilities: Tensor,
        certainty: Tensor | None = None,
    ) -> Prediction:
        """First rounds after the fit, as at inference: poses, 2D keypoints, their depths and how far each is trusted can learn
        what comes out best after it.
        """
        probabilities = log_probabilities.exp()
        token_confidence, tokens = probabilities.max(-1)
        prediction = Prediction(
            pose=pose,
            shape=shape,
            weak_camera=weak_camera,
            keypoints=merged_keypoints(found, theirs),
            tokens=tokens,
            token_confidence=token_confidence,
            spread=self.model.spread(probabilities, pose, shape, self.hand_model),
            head_confidence=found[..., 2],
            apart=disagreement(found, theirs),
            depth_certainty=certainty,
        )
        return refined(self.hand_model, prediction)

    def _disturbed(self, points: Tensor) -> Tensor:
        """Keypoints with a little noise, some lost, sometimes all."""
        places = points[..., :2] + self.masking.keypoint_noise * torch.randn_like(points[..., :2])
        lost = torch.rand_like(points[..., 2]) < self.masking.lost_keypoints
        lost = lost | (torch.rand(len(points), 1, device=points.device) < self.masking.no_keypoints)
        flat = torch.rand(len(points), 1, device=points.device) < self.masking.no_depth
        depth = torch.where(flat, torch.nan, points[..., 3] + self.masking.keypoint_noise * torch.randn_like(points[..., 3]))
        return torch.cat([places, (points[..., 2] * ~lost)[..., None], depth[..., None]], dim=-1)
