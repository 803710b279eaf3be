from __future__ import annotations

import hashlib
import pickle
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from maskhand.errors import AssetError
from maskhand.geometry.rotations import matrix_from_axis_angle
from maskhand.hand_model.free_hand import free_hand_data, load_npz
from maskhand.hand_model.layer import HandModel, mirror_points, mirror_pose
from maskhand.hand_model.mano import load_mano
from maskhand.hand_model.skeleton import MODEL_PARENTS
from maskhand.synthesis.views import random_rotations


def independent_skinning(data, pose: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by 4 x 4 matrices, vertex by vertex, float64: nothing shared with the layer."""
    rest = data.template.astype(float) + (data.shape_basis.astype(float) * shape).sum(-1)
    joints = data.joint_regressor.astype(float) @ rest
    world = []
    for j in range(16):
        local = np.eye(4)
        local[:3, :3] = pose[j]
        local[:3, 3] = joints[j] - (joints[MODEL_PARENTS[j]] if j else 0)
        world.append(local if j == 0 else world[MODEL_PARENTS[j]] @ local)
    posed_joints = np.stack([m[:3, 3] for m in world])
    skin = []
    for j in range(16):
        undo = np.eye(4)
        undo[:3, 3] = -joints[j]
        skin.append(world[j] @ undo)
    vertices = np.zeros_like(rest)
    for v, point in enumerate(rest):
        blended = sum(w * m for w, m in zip(data.skin_weights[v].astype(float), skin, strict=True))
        vertices[v] = (blended @ np.append(point, 1))[:3]
    return vertices - posed_joints[0], posed_joints - posed_joints[0]


def test_skinning_agrees_with_an_independent_implementation(hand_model, poses) -> None:
    data, shape = free_hand_data(), torch.randn(1, 10)
    mesh = hand_model(poses[:1], shape)
    vertices, joints = independent_skinning(data, poses[0].double().numpy(), shape[0].double().numpy())
    np.testing.assert_allclose(mesh.vertices[0].numpy(), vertices, atol=2e-6)
    np.testing.assert_allclose(mesh.keypoints[0, [0, 5, 6, 7, 1]].numpy(), joints[[0, 1, 2, 3, 13]], atol=2e-6)


def test_a_batch_gives_what_single_hands_give(hand_model, poses) -> None:
    shape = torch.randn(len(poses), 10)
    together = hand_model(poses, shape).vertices
    alone = torch.cat([hand_model(p[None], s[None]).vertices for p, s in zip(poses, shape, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)


def test_gradients_of_pose_and_shape_are_right(hand_model) -> None:
    model = HandModel(free_hand_data())
    subset = torch.arange(0, 1609, 200)

    def keypoints(angles: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        return model(matrix_from_axis_angle(angles), shape, vertex_subset=subset).vertices

    angles = (0.3 * torch.randn(1, 16, 3, dtype=torch.float64)).requires_grad_()
    shape = torch.randn(1, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(keypoints, (angles, shape), fast_mode=True)


def test_a_subset_of_vertices_is_the_mesh_at_those_vertices(hand_model, poses) -> None:
    subset, shape = torch.tensor([0, 5, 1600]), torch.zeros(len(poses), 10)
    full, part = hand_model(poses, shape), hand_model(poses, shape, vertex_subset=subset)
    torch.testing.assert_close(part.vertices, full.vertices[:, subset])
    torch.testing.assert_close(part.keypoints, full.keypoints)


def test_turning_the_wrist_turns_the_whole_hand(hand_model, poses) -> None:
    turn, shape = random_rotations(1), torch.zeros(1, 10)
    turned = poses[:1].clone()
    turned[:, 0] = turn @ turned[:, 0]
    expected = hand_model(poses[:1], shape).vertices @ turn[0].T
    torch.testing.assert_close(hand_model(turned, shape).vertices, expected, atol=1e-6, rtol=1e-4)


def test_mirroring_twice_changes_nothing_and_once_negates_x(poses) -> None:
    torch.testing.assert_close(mirror_pose(mirror_pose(poses)), poses)
    torch.testing.assert_close(mirror_points(torch.tensor([1.0, 2, 3])), torch.tensor([-1.0, 2, 3]))


def test_the_free_hand_is_closed_consistent_and_of_human_size(hand_model) -> None:
    faces = hand_model.faces
    edges = {(a, b) for f in faces for a, b in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    assert all((b, a) in edges for a, b in edges), "every edge has its counterpart: closed, wound alike"
    a, b, c = (hand_model.template[faces[:, k]] for k in range(3))
    volume = (np.cross(a, b) * c).sum() / 6
    assert 2e-4 < volume < 5e-4, "positive (faces outwards) and a third of a litre or so"
    length = np.linalg.norm(hand_model.template[hand_model.tips[1]])
    assert 0.17 < length < 0.20


def test_the_embedded_model_is_the_one_the_build_script_wrote() -> None:
    assets = files("maskhand") / "assets"
    recorded = (assets / "hand_model.sha256").read_text().split()[0]
    assert hashlib.sha256((assets / "hand_model.npz").read_bytes()).hexdigest() == recorded


class _Ch:
    """Stands in for chumpy.ch.Ch in the test's pickle."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


def write_mano_like(path: Path, extra: object = None) -> dict[str, np.ndarray]:
    """A pickle laid out as MANO_RIGHT.pkl, its shapedirs inside a chumpy object."""
    rng = np.random.default_rng(0)
    arrays = {
        "v_template": rng.normal(size=(778, 3)),
        "shapedirs": rng.normal(size=(778, 3, 10)),
        "posedirs": rng.normal(size=(778, 3, 135)),
        "J_regressor": np.abs(rng.normal(size=(16, 778))),
        "weights": np.abs(rng.normal(size=(778, 16))),
        "f": rng.integers(0, 778, (1538, 3)).astype(np.uint32),
    }
    content = {**arrays, "shapedirs": _Ch(arrays["shapedirs"]), "extra": extra}
    import sys
    import types

    module = types.ModuleType("chumpy.ch")
    _Ch.__module__, _Ch.__qualname__, _Ch.__name__ = "chumpy.ch", "Ch", "Ch"
    module.Ch = _Ch  # type: ignore[attr-defined]
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        path.write_bytes(pickle.dumps(content, protocol=2))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    return arrays


def test_a_mano_file_loads_without_chumpy(tmp_path) -> None:
    arrays = write_mano_like(tmp_path / "MANO_RIGHT.pkl")
    data = load_mano(tmp_path / "MANO_RIGHT.pkl")
    np.testing.assert_array_equal(data.shape_basis, arrays["shapedirs"])
    assert HandModel(data).vertex_count == 778
    mesh = HandModel(data)(torch.eye(3).expand(1, 16, 3, 3), torch.zeros(1, 10))
    assert mesh.vertices.shape == (1, 778, 3)


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("/nonexistent-evil"),))


def test_a_pickle_with_anything_else_inside_is_refused(tmp_path) -> None:
    write_mano_like(tmp_path / "MANO_RIGHT.pkl", extra=_Evil())
    with pytest.raises(AssetError, match="refused to build"):
        load_mano(tmp_path / "MANO_RIGHT.pkl")


def test_missing_and_wrong_hand_models_are_named(tmp_path) -> None:
    with pytest.raises(AssetError, match="accepting its licence"):
        load_mano(tmp_path / "MANO_RIGHT.pkl")
    with pytest.raises(AssetError, match="mirrored right ones"):
        load_mano(tmp_path / "MANO_LEFT.pkl")
    with pytest.raises(AssetError, match="does not exist"):
        load_npz(tmp_path / "no.npz")
    np.savez(tmp_path / "part.npz", v_template=np.zeros((3, 3)))
    with pytest.raises(AssetError, match="lacks J_regressor"):
        load_npz(tmp_path / "part.npz")
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(AssetError, match="cannot be read"):
        load_npz(tmp_path / "bad.npz")
