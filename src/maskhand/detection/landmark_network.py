"""Google's hand landmark network (MediaPipe, Apache-2.0): 2D and 3D landmarks, presence, side, of an upright crop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, pad

from maskhand.backbones.landmark_trunk import INPUT_PX, POOLED_CHANNELS, LandmarkTrunk, read_landmark_weights
from maskhand.checkpoint import load_into
from maskhand.detection.landmark_reader import keypoints_in_crop
from maskhand.geometry.crop import upright_angle
from maskhand.types import Keypoints2D

DEPTH_SCALE = 0.4
"""The network's unit of depth in that of its x and y (MediaPipe: `normalize_z`)."""


@dataclass(frozen=True)
class Landmarks:
    """What the landmark network says of a batch of crops."""

    points: Float[Tensor, "B 21 3"]
    """x, y in [0, 1] across the crop (right, down), z in the same unit, smaller is nearer."""
    world: Float[Tensor, "B 21 3"]
    """Metres, about the middle of the hand; x right, y down, z away."""
    presence: Float[Tensor, " B"]
    right: Float[Tensor, " B"]
    """Probability that, in the crop as it is shown, this is a right hand."""

    @property
    def keypoints(self) -> Keypoints2D:
        """In the crop, x and y in [-1, 1]; the presence is the confidence of each."""
        return keypoints_in_crop(self.points, self.presence)


class LandmarkNetwork(nn.Module):
    """Trunk and its four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = LandmarkTrunk()
        self.handedness = nn.Linear(POOLED_CHANNELS, 1)
        self.presence = nn.Linear(POOLED_CHANNELS, 1)
        self.landmarks = nn.Linear(POOLED_CHANNELS, 63)
        self.world = nn.Linear(POOLED_CHANNELS, 63)

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Landmarks:
        """image: RGB in [0, 1]."""
        return self.with_maps(image)[0]

    def with_maps(self, image: Float[Tensor, "B 3 224 224"]) -> tuple[Landmarks, dict[int, Tensor]]:
        """The landmarks, and the trunk's maps by stride (4, 8, 16, 32), which an encoder can go on from."""
        maps, pooled = self.trunk(image)
        return self.heads(pooled), maps

    def heads(self, pooled: Float[Tensor, "B 1152"]) -> Landmarks:
        """The landmarks from the trunk's pooled feature."""
        unit = pooled.new_tensor([INPUT_PX, INPUT_PX, INPUT_PX * DEPTH_SCALE])
        return Landmarks(
            points=self.landmarks(pooled).unflatten(1, (21, 3)) / unit,
            world=self.world(pooled).unflatten(1, (21, 3)),
            presence=self.presence(pooled)[:, 0].sigmoid(),
            right=self.handedness(pooled)[:, 0].sigmoid(),
        )

    def keypoints_turned_upright(
        self, image: Float[Tensor, "B 3 224 224"], near: Float[Tensor, "B 21 2"]
    ) -> Keypoints2D:
        """Keypoints of hands at any angle, turned upright for the network, which knows no others, and back.

        near: about where they are, crop from -1 to 1.
        """
        angle = image.new_tensor([upright_angle(points) for points in near.cpu().numpy()])
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).unflatten(-1, (2, 2))
        grid = affine_grid(pad(turn, (0, 1)), list(image.shape), align_corners=False)
        points = self(grid_sample(image, grid, align_corners=False)).keypoints
        return replace(points, xy=points.xy @ turn.mT)


@cache
def shared_landmark_network() -> LandmarkNetwork:
    """The network with its own weights, loaded once, frozen."""
    network = LandmarkNetwork()
    load_into(network, read_landmark_weights(), source="landmark_network.safetensors")
    # Channels last: a quarter faster on a CPU.
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
