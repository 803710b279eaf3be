"""Folders and picture files to write to, checked before the work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from maskhand.errors import InputError


def made_folder(path: str | Path) -> Path:
    """The folder, made if it was not there.

    Raises:
        InputError: it cannot be made, or a file has its name.

    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder {path} cannot be made: {error.strerror}; name another one") from error
    return path


def picture_path(path: str | Path) -> Path:
    """The path, once it is sure that a picture can be written there.

    Raises:
        InputError: not a .png or .jpg, not in a folder that exists, or a folder itself.

    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg") or not path.parent.is_dir() or path.is_dir():
        raise InputError(f"{path} cannot be written; name a .png or .jpg file in a folder that exists")
    return path


def written_picture(path: str | Path, picture: np.ndarray) -> Path:
    """An RGB picture as a file, of the kind its suffix says.

    Raises:
        InputError: it cannot be written.

    """
    path = Path(path)
    try:
        Image.fromarray(picture).save(path, compress_level=4, quality=92)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return path
