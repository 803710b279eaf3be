"""Two networks' 2D keypoints as one, weighted by how exact each is expected to be, and how far the two lie apart.

This project's addition. On plain photos the two networks agree and the landmark network's keypoints are the finer ones;
where it is wrong (held objects, other hands, folded fingers) the two disagree, and its own presence score falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float

from maskhand.errors import ConfigError
from maskhand.geometry.arrays import Array, namespace
from maskhand.types import Keypoints2D


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """How the landmark network's keypoints count beside the heat maps'. Distances: crop from -1 to 1."""

    use: Literal["both", "heatmaps", "landmark_network"] = "both"
    place_sigma: float = 0.03
    """Expected error of a sure heat-map keypoint; an unsure one's is this over its confidence squared."""
    error_share: float = 0.1
    """Share of the squared distance between the two that is the landmark network's error, per axis, where the hands
    agree."""
    distance_variance: float = 0.004
    """Mean squared distance over the hand at which that share has doubled; it grows with the square of it."""
    sure_presence: float = 0.98
    """Presence under which the landmark network's keypoints count less ..."""
    presence_power: float = 64.0
    """... by this power of its share of `sure_presence`."""
    depth_distance: float = 0.15
    """Root mean square distance of the two's depths at which the landmark network's count half."""

    def __post_init__(self) -> None:
        for name in ("place_sigma", "error_share", "distance_variance", "sure_presence", "depth_distance"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"fusion.{name} is {getattr(self, name)}; it must be above 0")


def fuse_keypoints(heatmaps: Keypoints2D, landmarks: Keypoints2D, config: FusionConfig = FusionConfig()) -> Keypoints2D:
    """One set of keypoints from the heat maps' and the landmark network's, both in the crop.

    The error of a heat-map keypoint follows from its confidence; the landmark network's from how far it lies from that
    keypoint, in this point and over the whole hand. Weights are inverse variances; confidence grows with the other's
    share.
    """
    if config.use == "heatmaps":
        return heatmaps
    if config.use == "landmark_network":
        return landmarks
    xp = namespace(heatmaps.xy)
    sure = landmarks.confidence > 0
    our_variance = (config.place_sigma / heatmaps.confidence**2) ** 2
    distance = xp.sum((heatmaps.xy - landmarks.xy) ** 2, axis=-1)
    mean_distance = xp.mean(distance, axis=1, keepdims=True)
    error_share = config.error_share * (1 + (mean_distance / config.distance_variance) ** 2)
    doubt = xp.clip(landmarks.confidence / config.sure_presence, 0.8, 1) ** -config.presence_power
    their_variance = doubt * xp.clip(error_share * xp.maximum(distance, mean_distance), config.place_sigma**2, None)
    share = our_variance / (our_variance + their_variance) * xp.astype(sure, distance.dtype)
    depth_distance = xp.mean((heatmaps.depth - landmarks.depth) ** 2, axis=1, keepdims=True)
    depth_share = share / (1 + depth_distance / config.depth_distance**2)
    return Keypoints2D(
        heatmaps.xy + share[..., None] * (landmarks.xy - heatmaps.xy),
        xp.clip(heatmaps.confidence / (1 - share) ** 0.25, None, 1),
        heatmaps.depth + depth_share * (landmarks.depth - heatmaps.depth),
        landmarks.presence,
        "landmark_network",
        "fused",
    )


def keypoint_disagreement(one: Float[Array, "B 21 2"], other: Float[Array, "B 21 2"]) -> Float[Array, " B"]:
    """Mean distance of two sets of 2D keypoints in sizes of the hand. Two networks rarely make the same mistake."""
    xp = namespace(one)
    size = xp.max(xp.max(one, axis=1) - xp.min(one, axis=1), axis=-1)
    return xp.mean(xp.linalg.vector_norm(one - other, axis=-1), axis=-1) / xp.clip(size, 1e-6, None)
