"""The errors users meet: each message names the value, what was expected, and the way out."""

from __future__ import annotations

import zipfile
import zlib

UNREADABLE_NPZ = (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises over a damaged npz file, or one that holds other arrays."""


class MaskHandError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(MaskHandError, ValueError):
    """An image, box, keypoint, pose or file given by the user cannot be used."""


class AssetError(MaskHandError):
    """A hand model or a weight file is missing, damaged or not what it claims to be."""


class ConfigError(MaskHandError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""
