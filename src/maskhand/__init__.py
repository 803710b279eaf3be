"""MaskHand: one photo of a hand in, a 3D hand mesh out, and how sure it is of it.

from maskhand import load
hands = load()("photo.jpg")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskhand.assets import load
    from maskhand.errors import AssetError, ConfigError, InputError, MaskHandError
    from maskhand.predictor import Predictor
    from maskhand.types import Hand
    from maskhand.version import __version__

__all__ = ["AssetError", "ConfigError", "Hand", "InputError", "MaskHandError", "Predictor", "__version__", "load"]

_HOMES = {
    "load": "maskhand.assets",
    "Predictor": "maskhand.predictor",
    "Hand": "maskhand.types",
    "MaskHandError": "maskhand.errors",
    "InputError": "maskhand.errors",
    "AssetError": "maskhand.errors",
    "ConfigError": "maskhand.errors",
    "__version__": "maskhand.version",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `maskhand --help` waits for nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'maskhand' has no attribute {name!r}")
