"""Stage 2: differential masked training of the transformer, the tokenizer frozen (paper Section 3.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor, nn

from maskhand.assets import network_config
from maskhand.backbones.vit import VitBackbone
from maskhand.checkpoint import load_into, read_weights
from maskhand.data.cached import CachedSamples
from maskhand.data.feature_cache import complete_shards
from maskhand.errors import ConfigError
from maskhand.evaluation.reconstruction import reconstructed
from maskhand.evaluation.synthetic import TEST_SEED
from maskhand.hand_model.layer import HandModel
from maskhand.runtime.hand_network import HandNetwork
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.batches import cached_batches, image_batches, live_seed
from maskhand.training.loop import Stage
from maskhand.training.objective import ModelObjective
from maskhand.training.settings import ModelTraining


class ModelStage(Stage):
    """Stage 2 on feature shards or on images.

    Raises:
        ConfigError: settings, data and weights do not go together.
        InputError: shards are missing, or keep no crops where they are needed.

    """

    frozen = ("network.model.tokenizer",)

    def __init__(self, config: ModelTraining, tokenizer: VqMano, hand_model: HandModel) -> None:
        self.config, self.hand_model = config, hand_model
        network = HandNetwork(config.network, tokenizer, hand_model.shape_count)
        if config.vit and isinstance(network.model.encoder.backbone, VitBackbone):
            network.model.encoder.backbone.start_from(config.vit)
        if config.start:
            _start_from(network, config)
        self.module = ModelObjective(config, network, hand_model)
        data = config.data
        judges = complete_shards(data.evaluation) if data.evaluation else []
        self.held_out = CachedSamples(judges) if judges else None
        if data.live:
            _refuse_judging_seed(config, [json.loads((s / "meta.json").read_text()).get("seed") for s in judges])
        folders = [folder for folder in (None if data.live else data.synthetic, data.photos) if folder]
        self.tables = [CachedSamples(complete_shards(folder), in_memory=data.in_memory) for folder in folders]
        if data.live and self.tables:
            kept = self.tables[0].images(np.arange(1))["image"].shape[1]  # says so now if it keeps no crops
            wanted = network.model.encoder.backbone.input_px
            if kept != wanted:
                raise ConfigError(
                    f"data.photos keeps crops of {kept} px, the backbone reads {wanted}: set data.photos=none"
                )
        if self.held_out and network.input_px is not None:
            self.held_out.images(np.arange(1))

    @property
    def network(self) -> HandNetwork:
        return self.module.network  # type: ignore[return-value, union-attr]

    def batches(self, steps: Iterable[int]) -> Iterator[dict[str, Tensor]]:
        if self.config.data.live:
            return image_batches(self.config, self.network, self.tables[0] if self.tables else None, steps)
        return cached_batches(self.config, self.tables, steps)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        if self.held_out is None:
            return {}
        network, inference = module.network, self.config.inference
        return reconstructed(network, self.hand_model, self.held_out, inference, steps=3, limit=400).means()  # type: ignore[arg-type]

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The backbone has a rate of its own, and so have the offsets of deformable attention."""
        model = self.network.model
        backbone = {id(p) for p in model.encoder.backbone.trainable()}
        offsets = {id(p) for layer in model.synthesizer.layers for p in layer.deform.offsets.parameters()}  # type: ignore[union-attr]
        learning = [p for p in self.module.parameters() if p.requires_grad]
        groups = [
            ([p for p in learning if id(p) not in backbone | offsets], 1.0),
            ([p for p in learning if id(p) in backbone], self.config.backbone_rate),
            ([p for p in learning if id(p) in offsets], self.config.offset_rate),
        ]
        return [{"params": params, "lr": learning_rate * share} for params, share in groups if params]

    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        network = module.network
        config = network_config(network, self.config.inference, self.hand_model.name)  # type: ignore[arg-type]
        return network.state_dict(), config  # type: ignore[union-attr, operator]


def _start_from(network: HandNetwork, config: ModelTraining) -> None:
    """Load the weights of an earlier run; what they lack keeps its initial values, and is named."""
    tensors, _ = read_weights(str(config.start))
    codes, own = tensors.get("model.tokenizer.codebook.codes"), network.model.codes
    if codes is not None and (codes.shape != own.shape or not codes.allclose(own, rtol=0.01, atol=0.001)):
        raise ConfigError(
            f"{config.start} was trained with another tokenizer than '{config.tokenizer}'; "
            f"set tokenizer={config.start} to go on with its own, or start from other weights"
        )
    initial = network.state_dict()
    missing = sorted({key.rsplit(".", 1)[0] for key in set(initial) - set(tensors)})
    if missing:
        Console(stderr=True).print(
            f"{config.start} lacks {len(missing)} layers, which start afresh: {', '.join(missing[:5])} ..."
        )
    load_into(network, initial | tensors, source=str(config.start))


def _refuse_judging_seed(config: ModelTraining, judges: list[int | None]) -> None:
    if live_seed(config) in {TEST_SEED, *judges}:
        raise ConfigError(
            f"train.seed={config.train.seed} draws the images of seed {live_seed(config)}, which judge: take another"
        )
