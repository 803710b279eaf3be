"""The small default backbone: the landmark network's trunk, with a copy of its last blocks that learns."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from maskhand.backbones.base import Maps, register_backbone
from maskhand.backbones.landmark_trunk import (
    INPUT_PX,
    POOLED_CHANNELS,
    TRUNK_CHANNELS,
    LandmarkTrunk,
    pretrained_trunk,
    run_blocks,
)
from maskhand.errors import ConfigError

FIRST_LEARNING = {"nothing": 14, "late": 10, "most": 4, "all": 14}
"""The first of the trunk's blocks that a learning copy replaces: none, those after stride 16, those after stride 8."""
CACHED_STRIDE, CACHED_BLOCK = 8, 4
"""The map of the trunk that feature shards keep, and the block that follows it."""


class FrozenTrunk(LandmarkTrunk):
    """The landmark network's trunk, frozen: its weights belong to that network's file and are in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.load_state_dict(pretrained_trunk().state_dict())
        self.requires_grad_(False)
        self.register_load_state_dict_pre_hook(_keep_own_weights)

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Nothing."""
        return {} if destination is None else destination


def _keep_own_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    state.update({prefix + key: value for key, value in nn.Module.state_dict(module).items()})


class HandBackbone(nn.Module):
    """Scale 1 is the trunk's last map (7 x 7 x 1152, stride 32), scale 2 its stride 16, scale 4 its stride 8.

    Args:
        learns: `nothing`; `late` or `most`: a copy of the trunk's blocks after stride 16 or 8; `all`: the trunk itself.

    """

    channels = {1: POOLED_CHANNELS, 2: TRUNK_CHANNELS[16], 4: TRUNK_CHANNELS[8]}
    base = (7, 7)
    input_px = INPUT_PX

    def __init__(self, learns: str = "nothing") -> None:
        super().__init__()
        if learns not in FIRST_LEARNING:
            raise ConfigError(f"model.encoder.learns is {learns!r}; one of {', '.join(FIRST_LEARNING)}")
        self.shares_landmark_trunk = learns != "all"
        self.trunk = FrozenTrunk() if self.shares_landmark_trunk else pretrained_trunk()
        self.first_learning = FIRST_LEARNING[learns]
        self.copy: nn.ModuleDict | None = None
        if self.first_learning < len(self.trunk.blocks):
            copied = pretrained_trunk()
            blocks = {str(k): copied.blocks[k] for k in range(self.first_learning, len(copied.blocks))}
            self.copy = nn.ModuleDict({**blocks, "head": copied.head, "head_depthwise": copied.head_depthwise})

    def trainable(self) -> list[nn.Parameter]:
        if not self.shares_landmark_trunk:
            return list(self.trunk.parameters())
        return [] if self.copy is None else list(self.copy.parameters())

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Maps:
        return self.finish(by_scale(self.trunk.maps(image, self.first_learning)))

    def finish(self, maps: Maps) -> Maps:
        """What follows the frozen maps: the blocks they lack, or the learning copy's, and the last two layers.

        maps: by scale; at least scale 4 (stride 8), which shards keep. With more of them less is computed again.
        """
        trunk, copy = self.trunk, self.copy
        if copy is None:
            if 1 not in maps:
                maps = maps | by_scale(run_blocks(trunk.blocks[CACHED_BLOCK:], maps[4], CACHED_STRIDE))
            return {**maps, 1: trunk.head_depthwise(trunk.head(maps[1]))}
        if self.first_learning > CACHED_BLOCK and 2 not in maps:
            maps = maps | by_scale(run_blocks(trunk.blocks[CACHED_BLOCK : self.first_learning], maps[4], CACHED_STRIDE))
        start = 2 if self.first_learning > CACHED_BLOCK else 4
        blocks = (copy[str(k)] for k in range(self.first_learning, len(trunk.blocks)))
        maps = maps | by_scale(run_blocks(blocks, maps[start], 32 // start))
        return {**maps, 1: copy["head_depthwise"](copy["head"](maps[1]))}


def by_scale(maps: dict[int, Tensor]) -> Maps:
    """Maps of the trunk, which come by stride."""
    return {32 // stride: x for stride, x in maps.items()}


register_backbone("hand", HandBackbone)
