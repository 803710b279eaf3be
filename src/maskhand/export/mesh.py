"""Meshes on disk: GLB, OBJ and PLY, through trimesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskhand.errors import InputError

SUFFIXES = (".glb", ".obj", ".ply")
SKIN = (205, 160, 132, 255)


def export_mesh(
    path: str | Path, vertices: np.ndarray, faces: np.ndarray, *, colours: np.ndarray | None = None
) -> Path:
    """Write a mesh; the format follows the suffix.

    Args:
        vertices: (V, 3) [m], camera frame (x right, y down, z forward). In the file x is right, y up and z towards the
            viewer, as glTF and most viewers expect: y and z are negated.
        faces: (F, 3), counter-clockwise seen from outside.
        colours: (V, 4) uint8 RGBA, a plain skin tone when left out.

    Raises:
        InputError: unknown suffix, or the folder does not exist.

    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot export to {path.name!r}: the suffix must be one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"folder {path.parent} does not exist")
    if colours is None:
        colours = np.tile(np.array(SKIN, np.uint8), (len(vertices), 1))
    mesh = trimesh.Trimesh(vertices * np.array([1.0, -1, -1]), faces, vertex_colors=colours, process=False)
    mesh.export(path)
    return path
