"""About which axes the joints of a hand model bend, read off its rest pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.hand_model.layer import HandModel


def thumb_axes(model: HandModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors along the thumb's last bone, its width and its thickness, in the rest pose; signs are arbitrary."""
    template = model.template.astype(np.float64)
    distal = template[model.skin_weights[:, 15] > 0.9]
    bone = template[int(model.tips[4])] - model.joint_template[15]
    bone /= np.linalg.norm(bone)
    flat = distal - distal.mean(0)
    flat -= np.outer(flat @ bone, bone)
    width, thickness = np.linalg.svd(flat, full_matrices=False)[2][:2]
    return bone, width, thickness


@dataclass(frozen=True)
class JointAxes:
    """Axes of the joints in the rest pose of one hand model, unit vectors in the model's frame."""

    flexion: np.ndarray
    """(15, 3), for joints 1-15."""
    thumb_bone: np.ndarray
    """(3,) from the thumb's CMC to its MCP."""

    @classmethod
    def of(cls, model: HandModel) -> JointAxes:
        """Read off the rest pose: fingers point to -x, the palm faces -y, the thumb +z (MANO's convention)."""
        joints = model.joint_template
        up = np.array([0.0, 1.0, 0.0])
        flexion = np.zeros((15, 3))
        for finger in range(4):
            first = 1 + 3 * finger
            axis = np.cross(up, joints[first + 2] - joints[first])
            flexion[3 * finger : 3 * finger + 3] = axis / np.linalg.norm(axis)
        bone, width, _ = thumb_axes(model)  # the thumb's last bone bends about its width
        # Bending carries the tip towards the palm and the little finger: width x bone points to -y or -z.
        towards = np.cross(width, bone)
        width *= np.sign(towards @ np.array([0.0, -1.0, -1.0]))
        flexion[12:15] = width
        thumb = joints[14] - joints[13]
        return cls(flexion, thumb / np.linalg.norm(thumb))
