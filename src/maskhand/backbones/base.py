"""What an image backbone is, and the table of those that a setting can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from maskhand.errors import ConfigError

Maps = dict[int, Tensor]
"""Feature maps (B, C, H, W) by scale: 1 is the base, 2 has twice its resolution."""


@runtime_checkable
class Backbone(Protocol):
    """An nn.Module from crops (B, 3, input_px, input_px), RGB in [0, 1], to feature maps."""

    channels: dict[int, int]
    """Channels of each map by scale; at least scale 1."""
    base: tuple[int, int]
    """Rows and columns of the map of scale 1."""
    input_px: int
    shares_landmark_trunk: bool
    """Whether it can go on from the landmark network's own maps of a crop (`finish`), so that the trunk runs once for
    both."""

    def __call__(self, image: Tensor) -> Maps: ...

    def finish(self, maps: Maps) -> Maps:
        """What is left to do after the landmark network's maps; only called if `shares_landmark_trunk`."""
        ...

    def trainable(self) -> list[nn.Parameter]:
        """What learns."""
        ...


BackboneBuilder = Callable[[str], nn.Module]
"""From `model.encoder.learns` to a `Backbone`."""
_BUILDERS: dict[str, BackboneBuilder] = {}


def register_backbone(name: str, build: BackboneBuilder) -> None:
    """Let `model.encoder.backbone` name a backbone; `build` gets `model.encoder.learns`."""
    _BUILDERS[name] = build


def build_backbone(name: str, learns: str) -> nn.Module:
    """The backbone of that name.

    Raises:
        ConfigError: none is registered under it, or it does not know `learns`.

    """
    if name not in _BUILDERS:
        raise ConfigError(
            f"model.encoder.backbone is {name!r}; one of {', '.join(sorted(_BUILDERS))}, or register your own"
        )
    return _BUILDERS[name](learns)
