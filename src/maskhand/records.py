"""What crosses module borders: a detected hand, the network's answer, and the reconstructed hand that users hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Side = Literal["left", "right"]


@dataclass(frozen=True)
class DetectedHand:
    """A hand found in a photo, in its pixels (the centre of the top left pixel is 0.5, 0.5)."""

    keypoints: np.ndarray
    """(21, 3): x, y [px], confidence in [0, 1]; OpenPose's order."""
    right: float
    """Probability that it is a right hand."""
    score: float
    """Detection score in [0, 1]."""
    world: np.ndarray | None = None
    """(21, 3) [m], the keypoint network's own 3D guess about the hand's middle (x right, y down, z away), if it makes one."""
    depth: np.ndarray | None = None
    """(21,) [px], how far behind the wrist each keypoint lies by the network's guess, in the photo's unit, if it makes one."""
    given_box: np.ndarray | None = None
    """(4,) the user's own box, where there is one."""

    @property
    def side(self) -> Side:
        return "right" if self.right >= 0.5 else "left"

    @property
    def relief(self) -> np.ndarray:
        """(21, 3) [px] about the wrist: the keypoints with their depth behind them, a 3D guess up to scale."""
        depth = np.zeros(21) if self.depth is None else self.depth
        points = np.c_[self.keypoints[:, :2], depth]
        return points - points[:1]

    @property
    def box(self) -> np.ndarray:
        """(4,) x1, y1, x2, y2 [px]: the one given, or around the known keypoints."""
        if self.given_box is not None:
            return self.given_box
        points = self.keypoints[self.keypoints[:, 2] > 0, :2]
        return np.concatenate([points.min(0), points.max(0)])


@dataclass(frozen=True)
class Prediction:
    """What the network says of a batch of crops (right hands; the crop's camera: x right, y down, z forward)."""

    pose: Tensor
    """(B, 16, 3, 3)."""
    shape: Tensor
    """(B, 10)."""
    weak_camera: Tensor
    """(B, 3) s, tx, ty."""
    keypoints: Tensor
    """(B, 21, 4) the 2D keypoints it was made from: x, y in [-1, 1], confidence (0: unknown), depth (NaN: unknown)."""
    tokens: Tensor
    """(B, L) the pose, spelled."""
    token_confidence: Tensor
    """(B, L) probability of each token when it was accepted, in [0, 1]."""
    spread: Tensor
    """(B, 21) how far the keypoints of poses drawn from the last round's distribution lie apart [m]."""
    head_confidence: Tensor
    """(B, 21) how sure the model is of the 2D keypoints that it finds itself, in (0, 1] (1: it finds none)."""
    apart: Tensor
    """(B,) how far the model's own 2D keypoints and those it was given lie apart, in sizes of the hand (NaN: only one set)."""
    depth_certainty: Tensor | None = None
    """(B, 21) how near the keypoints' depths are thought to be (1: as the fit expects), if the model says so."""
    round_confidence: Tensor | None = None
    """(B, T) mean confidence of all tokens in each round of unmasking, those accepted before as they were."""


@dataclass(frozen=True)
class Hand:
    """One reconstructed hand. Metres, in the photo's camera frame: x right, y down, z forward."""

    side: Side
    box: np.ndarray
    """(4,) x1, y1, x2, y2 [px]."""
    score: float
    """Detection score in [0, 1]."""
    vertices: np.ndarray
    """(V, 3) [m]."""
    faces: np.ndarray
    """(F, 3), counter-clockwise seen from outside."""
    joints: np.ndarray
    """(21, 3) [m], OpenPose's order."""
    keypoints: np.ndarray
    """(21, 2) the joints projected into the photo [px]."""
    pose: np.ndarray
    """(16, 3, 3) rotations of the hand model, the first against the camera; of the mirrored right hand if the side is left."""
    shape: np.ndarray
    """(10,)."""
    confidence: float
    """In [0, 1]."""
    joint_confidence: np.ndarray
    """(21,) in [0, 1]."""
    focal_px: float
    """Focal length that the photo was taken to have [px]."""
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    """Measured 2D keypoints, tokens and the like; not part of the contract."""

    def export(self, path: str | Path) -> Path:
        """Write the mesh as .glb, .obj or .ply, by suffix; returns the path."""
        from maskhand.export.mesh import export_mesh

        return export_mesh(path, self.vertices, self.faces)
