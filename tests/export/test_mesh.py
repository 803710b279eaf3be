"""Mesh files."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand import InputError


@pytest.mark.parametrize("suffix", ["glb", "obj", "ply"])
def test_exported_meshes_read_back(hands, tmp_path, suffix: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = hands[0].export(tmp_path / f"hand.{suffix}")
    mesh = trimesh.load(path, force="mesh", process=False)
    assert mesh.faces.shape == (3214, 3)
    np.testing.assert_allclose(mesh.bounds, np.stack([e for e in _bounds(hands[0].vertices * [1, -1, -1])]), atol=1e-4)
    assert mesh.volume > 0


def _bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return points.min(0), points.max(0)


def test_unknown_mesh_formats_and_folders_are_refused(hands, tmp_path) -> None:
    with pytest.raises(InputError, match=r"one of \.glb, \.obj, \.ply"):
        hands[0].export(tmp_path / "hand.stl")
    with pytest.raises(InputError, match="does not exist"):
        hands[0].export(tmp_path / "no" / "hand.glb")
