"""The hand model as a differentiable layer: pose and shape in, mesh and keypoints out.

Linear blend skinning as in MANO (Romero et al., SIGGRAPH Asia 2017), for any vertex count: the embedded free hand has
1,609 vertices and no pose correctives, MANO has 778 and 135 correctives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maskhand.errors import AssetError
from maskhand.geometry.fixed_tensor import fixed_tensor
from maskhand.geometry.rotations import mirror_rotation
from maskhand.hand_model.skeleton import MODEL_TO_KEYPOINTS


@dataclass(frozen=True)
class HandModelData:
    """What defines a hand model. Lengths in metres; right hand, flat, wrist anywhere; V vertices, F triangles, S
    shapes.
    """

    name: str
    template: np.ndarray
    """(V, 3) rest vertices."""
    shape_basis: np.ndarray
    """(V, 3, S) displacement per unit of shape."""
    joint_regressor: np.ndarray
    """(16, V), each row sums to one."""
    skin_weights: np.ndarray
    """(V, 16), each row sums to one."""
    faces: np.ndarray
    """(F, 3), counter-clockwise seen from outside."""
    tips: np.ndarray
    """(5,) fingertip vertices: index, middle, little, ring, thumb."""
    pose_basis: np.ndarray | None = None
    """(V, 3, 135) displacement per entry of the 15 finger rotations minus identity, or None."""

    def __post_init__(self) -> None:
        count = len(self.template)
        expected = {
            "template": (count, 3),
            "shape_basis": (count, 3, self.shape_basis.shape[-1]),
            "joint_regressor": (16, count),
            "skin_weights": (count, 16),
            "tips": (5,),
        }
        for field, shape in expected.items():
            actual = getattr(self, field).shape
            if actual != shape:
                raise AssetError(f"hand model '{self.name}': {field} has shape {actual}, expected {shape}")
            if not np.isfinite(getattr(self, field)).all():
                raise AssetError(f"hand model '{self.name}': {field} holds NaN or infinite values")
        if self.faces.min() < 0 or self.faces.max() >= count or self.tips.max() >= count:
            raise AssetError(f"hand model '{self.name}': a face or fingertip names a vertex beyond the {count} it has")


@dataclass(frozen=True)
class HandMesh:
    """A batch of posed hands [m], in the frame of the pose's global rotation, the wrist at the origin."""

    vertices: Float[Tensor, "B V 3"]
    keypoints: Float[Tensor, "B 21 3"]


class HandModel(nn.Module):
    """Skins the hand. Right hands; a left hand is its mirror image (`mirror_pose`, `mirror_points`)."""

    template: Tensor
    shape_basis: Tensor
    skin_weights: Tensor
    faces: Tensor
    tips: Tensor
    joint_regressor: Tensor
    joint_template: Tensor
    joint_basis: Tensor
    pose_basis: Tensor | None

    def __init__(self, data: HandModelData) -> None:
        super().__init__()
        self.name = data.name

        def buffer(name: str, array: np.ndarray, dtype: torch.dtype = torch.float32) -> None:
            self.register_buffer(name, torch.as_tensor(np.ascontiguousarray(array), dtype=dtype), persistent=False)

        buffer("template", data.template)
        buffer("shape_basis", data.shape_basis)
        buffer("skin_weights", data.skin_weights)
        buffer("faces", data.faces, torch.int64)
        buffer("tips", data.tips, torch.int64)
        # Joints are linear in the vertices, so their own template and basis save a (16, V) product per call.
        buffer("joint_regressor", data.joint_regressor)
        buffer("joint_template", data.joint_regressor @ data.template)
        buffer("joint_basis", np.einsum("jv,vcs->jcs", data.joint_regressor, data.shape_basis))
        if data.pose_basis is None:
            self.pose_basis = None
        else:
            buffer("pose_basis", data.pose_basis)

    @property
    def vertex_count(self) -> int:
        return len(self.template)

    @property
    def shape_count(self) -> int:
        return self.shape_basis.shape[-1]

    def forward(
        self,
        pose: Float[Tensor, "B 16 3 3"],
        shape: Float[Tensor, "B S"],
        *,
        vertex_subset: Int[Tensor, " n"] | None = None,
    ) -> HandMesh:
        """Pose the hand.

        Args:
            pose: rotations; the first turns the whole hand about the wrist, the others each joint against its parent.
            shape: coefficients, about N(0, 1) each.
            vertex_subset: skin only these vertices (the keypoints are exact all the same); for cheap training losses.

        """
        joints = self.joint_template + torch.einsum("jcs,bs->bjc", self.joint_basis, shape)  # (B, 16, 3)
        rotations, translations = self._chain(pose, joints)
        wanted = self.tips if vertex_subset is None else torch.cat([vertex_subset, self.tips])
        select: slice | Tensor = slice(None) if vertex_subset is None else wanted
        rest = self.template[select] + torch.einsum("vcs,bs->bvc", self.shape_basis[select], shape)
        if self.pose_basis is not None:
            identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
            rest = rest + torch.einsum("vcp,bp->bvc", self.pose_basis[select], (pose[:, 1:] - identity).flatten(1))
        weights = self.skin_weights[select]
        transforms = torch.cat([rotations.flatten(2), translations], dim=-1)  # (B, 16, 12)
        blended = torch.einsum("vj,bjk->bvk", weights, transforms)  # (B, n, 12)
        blend = blended[..., :9].unflatten(-1, (3, 3))
        vertices = (blend @ rest[..., None])[..., 0] + blended[..., 9:]
        wrist = joints[:, :1]
        vertices = vertices - wrist
        posed_joints = (rotations @ joints[..., None])[..., 0] + translations - wrist
        tips = vertices[:, self.tips] if vertex_subset is None else vertices[:, -5:]
        keypoints = torch.cat([posed_joints, tips], dim=1)[:, fixed_tensor(MODEL_TO_KEYPOINTS, pose.device)]
        return HandMesh(vertices if vertex_subset is None else vertices[:, :-5], keypoints)

    def keypoints(self, pose: Float[Tensor, "B 16 3 3"], shape: Float[Tensor, "B S"]) -> Float[Tensor, "B 21 3"]:
        """The 21 keypoints alone, at a fraction of the mesh's cost."""
        return self(pose, shape, vertex_subset=self.tips[:0]).keypoints

    @staticmethod
    def _chain(
        pose: Float[Tensor, "B 16 3 3"], joints: Float[Tensor, "B 16 3"]
    ) -> tuple[Float[Tensor, "B 16 3 3"], Float[Tensor, "B 16 3"]]:
        """World rotation of each joint, and the translation that carries rest points: x -> R x + t."""
        rotation = global_rotations(pose)
        bones = (joints[:, 1:].unflatten(1, (5, 3)) - _parents(joints))[..., None]
        along = (_parents(rotation) @ bones)[..., 0].cumsum(2).flatten(1, 2)
        position = torch.cat([joints[:, :1], joints[:, :1] + along], 1)
        return rotation, position - (rotation @ joints[..., None])[..., 0]


def _parents(of_joints: Float[Tensor, "B 16 *n"]) -> Float[Tensor, "B 5 3 *n"]:
    """What each finger joint's parent has: the wrist's, then those of the joints before it."""
    fingers = of_joints[:, 1:].unflatten(1, (5, 3))
    return torch.cat([of_joints[:, None, :1].expand_as(fingers[:, :, :1]), fingers[:, :, :2]], 2)


def global_rotations(pose: Float[Tensor, "B 16 3 3"]) -> Float[Tensor, "B 16 3 3"]:
    """Rotation of each joint against the frame of the pose, from rotations against the parent."""
    first, second, third = pose[:, 1:].unflatten(1, (5, 3)).unbind(2)  # of all fingers at once
    first = pose[:, :1] @ first
    second = first @ second
    return torch.cat([pose[:, :1], torch.stack([first, second, second @ third], 2).flatten(1, 2)], 1)


def mirror_pose(pose: Float[Tensor, "*b 16 3 3"]) -> Float[Tensor, "*b 16 3 3"]:
    """The pose of the other hand that looks like this one in a mirror (x negated)."""
    return mirror_rotation(pose)


def mirror_points(points: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Points seen in the mirror that negates x."""
    return points * points.new_tensor([-1.0, 1.0, 1.0])
