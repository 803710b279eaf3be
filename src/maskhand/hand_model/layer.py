"""The hand model as a differentiable function of NumPy or PyTorch arrays: pose and shape in, mesh and keypoints out.

Linear blend skinning as in MANO (Romero et al., SIGGRAPH Asia 2017), for any vertex count: the embedded free hand has
1,609 vertices and no pose correctives, MANO has 778 and 135 correctives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from maskhand.errors import AssetError
from maskhand.geometry.arrays import IDENTITY, MIRROR, Array, Constant, namespace
from maskhand.geometry.rotations import mirror_rotation
from maskhand.hand_model.skeleton import MODEL_TO_KEYPOINTS

_ORDER = Constant(MODEL_TO_KEYPOINTS, integers=True)


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

    vertices: Float[Array, "B V 3"]
    keypoints: Float[Array, "B 21 3"]


class HandModel:
    """Skins the hand. Right hands; a left hand is its mirror image (`mirror_pose`, `mirror_points`).

    Its own arrays are NumPy's; the ones that a call works with are of the kind, type and device of the pose.
    """

    def __init__(self, data: HandModelData) -> None:
        self.name = data.name

        def array(values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
            return np.ascontiguousarray(values, dtype)

        self.template, self.shape_basis = array(data.template), array(data.shape_basis)
        self.skin_weights, self.joint_regressor = array(data.skin_weights), array(data.joint_regressor)
        self.faces, self.tips = array(data.faces, np.int64), array(data.tips, np.int64)
        # Joints are linear in the vertices, so their own template and basis save a (16, V) product per call.
        self.joint_template = array(data.joint_regressor @ data.template)
        self.joint_basis = array(np.einsum("jv,vcs->jcs", data.joint_regressor, data.shape_basis))
        self.pose_basis = None if data.pose_basis is None else array(data.pose_basis)
        names = ("template", "shape_basis", "skin_weights", "joint_template", "joint_basis", "pose_basis")
        self._constants = {name: Constant(getattr(self, name)) for name in names if getattr(self, name) is not None}
        self._tips = Constant(self.tips, integers=True)

    @property
    def vertex_count(self) -> int:
        return len(self.template)

    @property
    def shape_count(self) -> int:
        return self.shape_basis.shape[-1]

    def __call__(
        self,
        pose: Float[Array, "B 16 3 3"],
        shape: Float[Array, "B S"],
        *,
        vertex_subset: Int[Array, " n"] | None = None,
    ) -> HandMesh:
        """Pose the hand.

        Args:
            pose: rotations; the first turns the whole hand about the wrist, the others each joint against its parent.
            shape: coefficients, about N(0, 1) each.
            vertex_subset: skin only these vertices (the keypoints are exact all the same); for cheap training losses.

        """
        xp = namespace(pose, shape)
        own = {name: constant.on(pose) for name, constant in self._constants.items()}
        joints = own["joint_template"] + _shaped(own["joint_basis"], shape)  # (B, 16, 3)
        rotations, translations = self._chain(pose, joints)
        tips = self._tips.on(pose)
        wanted = tips if vertex_subset is None else xp.concat([vertex_subset, tips], axis=0)
        select: slice | Array = slice(None) if vertex_subset is None else wanted
        rest = own["template"][select] + _shaped(own["shape_basis"][select], shape)
        if self.pose_basis is not None:
            bends = xp.reshape(pose[:, 1:] - IDENTITY.on(pose), (-1, 135))
            rest = rest + _shaped(own["pose_basis"][select], bends)
        transforms = xp.concat([xp.reshape(rotations, (-1, 16, 9)), translations], axis=-1)  # (B, 16, 12)
        blended = own["skin_weights"][select] @ transforms  # (B, n, 12)
        turned = [xp.sum(blended[..., 3 * k : 3 * k + 3] * rest, axis=-1) for k in range(3)]
        wrist = joints[:, :1]
        vertices = xp.stack(turned, axis=-1) + blended[..., 9:] - wrist
        posed_joints = (rotations @ joints[..., None])[..., 0] + translations - wrist
        at_tips = xp.take(vertices, tips, axis=1) if vertex_subset is None else vertices[:, -5:]
        keypoints = xp.take(xp.concat([posed_joints, at_tips], axis=1), _ORDER.on(pose), axis=1)
        return HandMesh(vertices if vertex_subset is None else vertices[:, :-5], keypoints)

    def keypoints(self, pose: Float[Array, "B 16 3 3"], shape: Float[Array, "B S"]) -> Float[Array, "B 21 3"]:
        """The 21 keypoints alone, at a fraction of the mesh's cost."""
        return self(pose, shape, vertex_subset=self._tips.on(pose)[:0]).keypoints

    @staticmethod
    def _chain(
        pose: Float[Array, "B 16 3 3"], joints: Float[Array, "B 16 3"]
    ) -> tuple[Float[Array, "B 16 3 3"], Float[Array, "B 16 3"]]:
        """World rotation of each joint, and the translation that carries rest points: x -> R x + t."""
        xp = namespace(pose)
        rotation = global_rotations(pose)
        bones = _by_finger(joints) - _of_parents(joints)  # (B, 5, 3, 3)
        along = xp.cumulative_sum((_of_parents(rotation) @ bones[..., None])[..., 0], axis=2)
        position = xp.concat([joints[:, :1], joints[:, :1] + xp.reshape(along, (-1, 15, 3))], axis=1)
        return rotation, position - (rotation @ joints[..., None])[..., 0]


def _shaped(basis: Float[Array, "n c S"], coefficients: Float[Array, "B S"]) -> Float[Array, "B n c"]:
    """What coefficients add to n points."""
    xp = namespace(basis)
    flat = xp.reshape(basis, (-1, basis.shape[-1]))
    return xp.reshape(coefficients @ flat.T, (-1, *basis.shape[:2]))


def _by_finger(of_joints: Float[Array, "B 16 *n"]) -> Float[Array, "B 5 3 *n"]:
    """What the 15 finger joints have, by finger."""
    return namespace(of_joints).reshape(of_joints[:, 1:], (-1, 5, 3, *of_joints.shape[2:]))


def _of_parents(of_joints: Float[Array, "B 16 *n"]) -> Float[Array, "B 5 3 *n"]:
    """What each finger joint's parent has: the wrist's, then those of the joints before it."""
    fingers = _by_finger(of_joints)
    xp = namespace(fingers)
    wrist = xp.zeros_like(fingers[:, :, :1]) + of_joints[:, None, :1]
    return xp.concat([wrist, fingers[:, :, :2]], axis=2)


def global_rotations(pose: Float[Array, "B 16 3 3"]) -> Float[Array, "B 16 3 3"]:
    """Rotation of each joint against the frame of the pose, from rotations against the parent."""
    xp, fingers = namespace(pose), _by_finger(pose)
    first = pose[:, :1] @ fingers[:, :, 0]  # of all fingers at once
    second = first @ fingers[:, :, 1]
    chain = xp.stack([first, second, second @ fingers[:, :, 2]], axis=2)
    return xp.concat([pose[:, :1], xp.reshape(chain, (-1, 15, 3, 3))], axis=1)


def mirror_pose(pose: Float[Array, "*b 16 3 3"]) -> Float[Array, "*b 16 3 3"]:
    """The pose of the other hand that looks like this one in a mirror (x negated)."""
    return mirror_rotation(pose)


def mirror_points(points: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Points seen in the mirror that negates x."""
    return points * MIRROR.on(points)
