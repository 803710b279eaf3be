"""What crosses module borders: 2D keypoints, a detection, the network's prediction, and the reconstructed hand users
hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from maskhand.geometry.arrays import Array, namespace
from maskhand.geometry.crop import Crop

Side = Literal["left", "right"]
JointConvention = Literal["hand_model", "landmark_network"]
"""Whose definition of the 21 joints: our hand model's, or the landmark network's, some millimetres beside it."""
KeypointSource = Literal["landmark_network", "heatmaps", "fused", "user"]
KEYPOINT_ARRAYS = ("xy", "confidence", "depth", "presence")


@dataclass(frozen=True, eq=False)
class Keypoints2D:
    """21 2D keypoints in OpenPose's order, of one hand (NumPy, in the photo) or of a batch (in crops).

    In a photo the unit is the pixel; in a crop x and y run from -1 to 1.
    """

    xy: Any
    """(..., 21, 2) x right, y down."""
    confidence: Any
    """(..., 21) in [0, 1]; 0: unknown, wherever it lies."""
    depth: Any
    """(..., 21) how far behind the wrist, in the unit of x and y; NaN: unknown."""
    presence: Any
    """(...,) probability that there is a hand, by the network the keypoints come from; NaN: unknown."""
    convention: JointConvention
    source: KeypointSource

    @classmethod
    def of_user(cls, points: np.ndarray, fill: np.ndarray | None = None) -> Keypoints2D:
        """Keypoints that a user or another detector measured.

        Args:
            points: (21, 2) x, y [px], or (21, 3) with confidence, 0: unknown.
            fill: (21, 2) about where unknown ones lie, for the crop; the mean of the known ones if left out.

        """
        points = np.asarray(points, np.float64)
        confidence = points[:, 2] if points.shape[1] == 3 else np.ones(len(points))
        known = (confidence > 0)[:, None]
        rest = points[known[:, 0], :2].mean(0) if fill is None else fill
        depth = np.full(len(points), np.nan)
        return cls(np.where(known, points[:, :2], rest), confidence, depth, np.nan, "hand_model", "user")

    @property
    def known_xy(self) -> np.ndarray:
        """(n, 2) the known ones of one hand."""
        return self.xy[self.confidence > 0]

    def map(self, function: Callable[[Any], Any]) -> Keypoints2D:
        """With a function applied to each of its arrays."""
        return replace(self, **{name: function(getattr(self, name)) for name in KEYPOINT_ARRAYS})

    def rows(self, index: Any) -> Keypoints2D:
        """These hands of a batch, in this order."""
        return self.map(lambda array: array[index])


@dataclass(frozen=True, eq=False)
class Detection:
    """A hand found in a photo, in its pixels (the centre of the top left pixel is 0.5, 0.5)."""

    box: np.ndarray
    """(4,) x1, y1, x2, y2 [px]."""
    score: float
    """In [0, 1]."""
    right: float = 0.5
    """Probability that it is a right hand; near 0.5 both sides are tried."""
    keypoints: Keypoints2D | None = None
    """In the photo; left out, the landmark network reads them in the box. Those of source `user` replace the network's
    own."""
    world: np.ndarray | None = None
    """(21, 3) [m] a 3D guess of the landmark network about the hand's middle (x right, y down, z away)."""
    crop: Crop | None = None
    """Where to look, where keypoints do not tell: the landmark network sees no hand in the box."""

    @property
    def side(self) -> Side:
        return "right" if self.right >= 0.5 else "left"

    @property
    def points(self) -> Keypoints2D:
        """The keypoints of a detection that has some.

        Raises:
            ValueError: it has none.

        """
        if self.keypoints is None:
            raise ValueError("this detection has no keypoints")
        return self.keypoints

    @property
    def xy(self) -> np.ndarray:
        """(21, 2) [px] its keypoints."""
        return self.points.xy

    @property
    def relief(self) -> np.ndarray:
        """(21, 3) [px] about the wrist: the keypoints with their depth behind them, a 3D guess up to scale."""
        points = np.c_[self.xy, np.nan_to_num(self.points.depth)]
        return points - points[:1]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of a batch of crops (right hands; the crop's camera: x right, y down, z forward)."""

    pose: Array
    """(B, 16, 3, 3)."""
    shape: Array
    """(B, 10)."""
    weak_camera: Array
    """(B, 3) s, tx, ty."""
    keypoints: Keypoints2D
    """The 2D keypoints it was made from, in the crop."""
    tokens: Array
    """(B, L) the pose, spelled."""
    token_confidence: Array
    """(B, L) probability of each token when it was accepted, in [0, 1]."""
    spread: Array
    """(B, 21) root mean square distance [m] of the keypoints of poses drawn from the last round's distribution."""
    heatmap_confidence: Array
    """(B, 21) confidence of the keypoint head in its own keypoints, in (0, 1] (1: there is no head)."""
    disagreement: Array
    """(B,) mean distance of the two networks' keypoints, in sizes of the hand (NaN: only one set)."""
    depth_certainty: Array | None = None
    """(B, 21) how exact the keypoints' depths are thought to be (1: as the fit expects), if the head says so."""
    round_confidence: Array | None = None
    """(B, T) mean confidence of all tokens in each round of unmasking, those accepted before as they were."""

    def map(self, function: Callable[[Any], Any]) -> Prediction:
        """With a function applied to each of its arrays."""
        columns: dict[str, Any] = {
            key: value.map(function) if isinstance(value, Keypoints2D) else function(value)
            for key, value in vars(self).items()
            if value is not None
        }
        return replace(self, **columns)

    def rows(self, index: Any) -> Prediction:
        """These hands of the batch, in this order."""
        return self.map(lambda array: array[index])

    @staticmethod
    def concatenate(parts: Sequence[Prediction]) -> Prediction:
        """Several batches as one, their keypoints of one convention and source; what one of them lacks is left out."""
        columns: dict[str, Any] = {key: _concatenated([getattr(part, key) for part in parts]) for key in vars(parts[0])}
        return replace(parts[0], **columns)


def _concatenated(values: Sequence[Any]) -> Any:
    if any(value is None for value in values):
        return None
    if not isinstance(values[0], Keypoints2D):
        return namespace(*values).concat(list(values), axis=0)
    arrays: dict[str, Any] = {name: _concatenated([getattr(v, name) for v in values]) for name in KEYPOINT_ARRAYS}
    return replace(values[0], **arrays)


@runtime_checkable
class Engine(Protocol):
    """Runs the networks' graphs (`maskhand.runtime.graphs`) on arrays of one kind: NumPy's, or PyTorch's."""

    def run(self, graph: str, **inputs: Array) -> dict[str, Array]:
        """The outputs of a graph by name."""
        ...

    def array(self, values: np.ndarray) -> Array:
        """NumPy's values as an array of the engine's kind."""
        ...


@dataclass(frozen=True, eq=False)
class Trace:
    """What a hand was made from, for explanations, measures and debugging."""

    detection: Detection
    crop: Crop
    keypoints: Keypoints2D
    """What the pose was fitted to, in the photo [px]."""
    landmarks: np.ndarray
    """(21, 3) [m] the landmark network's points on the mesh, in the photo's camera frame."""
    disagreement: float
    """As `Prediction.disagreement`."""
    tokens: np.ndarray
    """(L,)."""
    token_confidence: np.ndarray
    """(L,) in [0, 1]."""
    focal_source: str
    """`given`, `exif` or `assumed`."""


@dataclass(frozen=True, eq=False)
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
    """(16, 3, 3) rotations of the hand model, the first against the camera; of the mirrored right hand if the side is
    left."""
    shape: np.ndarray
    """(10,)."""
    confidence: float
    """In [0, 1]."""
    joint_confidence: np.ndarray
    """(21,) in [0, 1]."""
    focal_px: float
    """Focal length that the photo was taken to have [px]."""
    trace: Trace
    doubt: str = ""
    """Why little may be right, in words; empty if nothing speaks against the hand."""

    def export(self, path: str | Path) -> Path:
        """Write the mesh as .glb, .obj or .ply, by suffix; returns the path."""
        from maskhand.export.mesh import export_mesh

        return export_mesh(path, self.vertices, self.faces)

    def __repr__(self) -> str:
        x, y, z = self.joints[0]
        return f"Hand({self.side}, confidence {self.confidence:.2f}, wrist at {x:.3f}, {y:.3f}, {z:.3f} m)"


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """What one layer samples for each of L tokens in the first round, in the photo [px]."""

    reference: np.ndarray
    """(L, 2) reference points."""
    samples: np.ndarray
    """(L, n, 2) sampling locations."""
    weights: np.ndarray
    """(L, n)."""
