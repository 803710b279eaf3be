"""The embedded free hand: derived from MakeHuman/MPFB2 (CC0) by scripts/build_hand.py. No licence form."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from maskhand.errors import UNREADABLE_NPZ, AssetError
from maskhand.hand_model.layer import HandModelData


@cache
def free_hand_data() -> HandModelData:
    with as_file(files("maskhand") / "assets" / "hand_model.npz") as path:
        return load_npz(path, name="maskhand-free")


def load_npz(path: str | Path, *, name: str | None = None) -> HandModelData:
    """A hand model from an npz with v_template, shapedirs, J_regressor, weights, faces, tips and optionally posedirs.

    Raises:
        AssetError: the file is missing, is no npz, or lacks an array.

    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"v_template", "shapedirs", "J_regressor", "weights", "faces", "tips"} - set(arrays)
            if missing:
                raise AssetError(f"hand model {path} lacks {', '.join(sorted(missing))}; it has {', '.join(arrays)}")
            return HandModelData(
                name=name or path.stem,
                template=arrays["v_template"],
                shape_basis=arrays["shapedirs"][..., :10],
                joint_regressor=arrays["J_regressor"],
                skin_weights=arrays["weights"],
                faces=arrays["faces"],
                tips=arrays["tips"],
                pose_basis=arrays.get("posedirs"),
            )
    except FileNotFoundError:
        raise AssetError(f"hand model {path} does not exist") from None
    except UNREADABLE_NPZ as error:
        raise AssetError(f"hand model {path} cannot be read as an npz: {error}") from error
