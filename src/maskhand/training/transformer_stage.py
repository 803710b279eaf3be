"""Stage 2: differential masked training of the transformer, the tokenizer frozen (paper Section 3.3)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from maskhand.checkpoint import load_into, read_weights
from maskhand.config import to_dict
from maskhand.data.cached import CachedSamples, mixed_batches
from maskhand.data.feature_cache import complete_shards
from maskhand.data.live import live_batches, with_photos
from maskhand.errors import ConfigError
from maskhand.evaluation.reconstruction import reconstructed
from maskhand.evaluation.synthetic import TEST_SEED
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.backbones.vit import VitBackbone
from maskhand.model.maskhand import MaskHandModel
from maskhand.synthesis.scenes import TRAINING_SCENES
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.loop import Stage
from maskhand.training.objective import ModelObjective
from maskhand.training.settings import ModelTraining


def _live_seed(config: ModelTraining) -> int:
    return config.train.seed + 1


class ModelStage(Stage):
    """Stage 2 on cached features."""

    frozen = ("model.tokenizer",)

    def __init__(self, config: ModelTraining, tokenizer: VqMano, hand_model: HandModel) -> None:
        self.config, self.hand_model = config, hand_model
        model = MaskHandModel(config.model, tokenizer, hand_model.shape_count)
        encoder = config.model.encoder
        if config.vit:
            if not isinstance(model.encoder.backbone, VitBackbone) or config.start:
                raise ConfigError(
                    f"vit={config.vit!r} starts a model.encoder.backbone of 'vit-h' without a start: set start=none, or vit=none"
                )
            model.encoder.backbone.start_from(config.vit)
        if config.start:
            tensors, _ = read_weights(config.start)
            codes = tensors.get("tokenizer.codebook.codes")
            if codes is not None and (codes.shape != model.codes.shape or not codes.allclose(model.codes, rtol=0.01, atol=0.001)):
                raise ConfigError(
                    f"{config.start} was trained with another tokenizer than '{config.tokenizer}'; "
                    f"set tokenizer={config.start} to go on with its own, or start from other weights"
                )
            if any(key.startswith(model.borrowed) for key in tensors):
                raise ConfigError(
                    f"{config.start} has a trunk that learned, which model.encoder.learns={encoder.learns!r} would leave out: "
                    "set it to 'all'"
                )
            left = [name for name in config.start_without if not any(key.startswith(name) for key in tensors)]
            if left:
                raise ConfigError(f"start_without={left[0]!r} names no weights of {config.start}")
            taken = {key: value for key, value in tensors.items() if not key.startswith(config.start_without)}
            load_into(model, model.state_dict() | taken, source=config.start)
        self.module = ModelObjective(config, model, hand_model)
        data = config.data
        self.live = data.synthetic == "live"
        if not self.live and (encoder.learns == "all" or encoder.backbone != "hand"):
            raise ConfigError(
                f"a backbone '{encoder.backbone}' that learns '{encoder.learns}' needs images: set data.synthetic=live"
            )
        if not config.model.upright_crop and not (self.live and data.photos is None and data.evaluation is None):
            raise ConfigError(
                "shards hold upright crops: model.upright_crop=false needs data.synthetic=live, data.photos and evaluation none"
            )
        judges = complete_shards(data.evaluation) if data.evaluation else []
        self.held_out = CachedSamples(judges) if judges else None
        if self.live and _live_seed(config) in {
            TEST_SEED,
            *(json.loads((s / "meta.json").read_text()).get("seed") for s in judges),
        }:
            raise ConfigError(
                f"train.seed={config.train.seed} draws the images of seed {_live_seed(config)}, which judge: take another"
            )
        folders = [folder for folder in (None if self.live else data.synthetic, data.photos) if folder]
        self.tables = [CachedSamples(complete_shards(folder), in_memory=data.in_memory) for folder in folders]
        self.shares = [1 - data.photo_share, data.photo_share] if data.photos else [1.0]
        if self.live and self.tables:
            kept = self.tables[0].images(np.arange(1))["image"].shape[1]  # says so now if it keeps no crops
            wanted = model.encoder.backbone.input_px
            if kept != wanted:
                raise ConfigError(f"data.photos keeps crops of {kept} px, the backbone reads {wanted}: set data.photos=none")
        if self.held_out and not model.reads_maps:
            self.held_out.images(np.arange(1))

    def batches(self, steps: Iterable[int]) -> Iterator[dict[str, Tensor]]:
        train, data = self.config.train, self.config.data
        if not self.live:
            return mixed_batches(self.tables, self.shares, train.batch_size, train.seed, steps, shift=data.shift)
        objective: ModelObjective = self.module  # type: ignore[assignment]
        size, device = objective.model.encoder.backbone.input_px, objective.model.place.device
        scenes = replace(TRAINING_SCENES, size=size, backgrounds=data.backgrounds, upright=self.config.model.upright_crop)
        photos = min(round(train.batch_size * data.photo_share), train.batch_size - 1) if data.photos else 0
        again, steps = itertools.tee(steps)
        made = live_batches(
            free_hand_data(),
            scenes,
            seed=_live_seed(self.config),
            batch=train.batch_size - photos,
            steps=steps,
            workers=data.workers,
            repeats=data.repeats,
            device=device,
        )
        if not photos:
            return made
        return with_photos(made, self.tables[0], photos, train.seed, again, keep_on=device if data.in_memory else None)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        if self.held_out is None:
            return {}
        return reconstructed(module.model, self.hand_model, self.held_out, steps=3, limit=400).means()  # type: ignore[arg-type]

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The backbone has a rate of its own."""
        objective: ModelObjective = self.module  # type: ignore[assignment]
        inside = {id(p) for p in objective.model.encoder.backbone.parameters()}  # type: ignore[attr-defined]
        offsets = {id(p) for layer in objective.model.synthesizer.layers for p in layer.look.offsets.parameters()}  # type: ignore[union-attr]
        learning = [p for p in self.module.parameters() if p.requires_grad]
        groups = [
            ([p for p in learning if id(p) not in inside | offsets], 1.0),
            ([p for p in learning if id(p) in inside], self.config.backbone_rate),
            ([p for p in learning if id(p) in offsets], self.config.offset_rate),
        ]
        return [{"params": params, "lr": learning_rate * share} for params, share in groups if params]

    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return shipped_weights(module.model)  # type: ignore[arg-type]


def shipped_weights(model: MaskHandModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and config of a model file: the tokenizer inside, a borrowed trunk outside (it is the landmark network's)."""
    tensors = {key: value for key, value in model.state_dict().items() if not key.startswith(model.borrowed)}
    return tensors, {"model": to_dict(model.config), "tokenizer": to_dict(model.tokenizer.config)}
