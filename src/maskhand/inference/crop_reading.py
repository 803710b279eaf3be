"""The landmark network's maps and keypoints of candidates' crops, crops laid anew until they show their hands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskhand.backbones.hand import by_scale
from maskhand.backbones.landmark_trunk import INPUT_PX
from maskhand.detection.landmark_network import LandmarkNetwork
from maskhand.geometry.crop import Crop, CropConfig, crop_around
from maskhand.inference.candidates import Candidate
from maskhand.types import KEYPOINT_ARRAYS, Keypoints2D


@dataclass(frozen=True, kw_only=True)
class RecropConfig:
    """When a crop is laid anew."""

    rounds: int = 3
    """The most re-crops: each shows more of a hand that reaches beyond its crop."""
    moved: float = 0.03
    """Mean distance, in sides of the crop, between the keypoints it was laid around and those read in it, from which
    on it is."""


@dataclass(frozen=True, eq=False)
class CropReadings:
    """What the landmark network makes of a batch of crops."""

    crops: list[Crop]
    maps: dict[int, Tensor]
    """By scale."""
    keypoints: Keypoints2D
    """In the crops."""


def views_of(image: np.ndarray, crops: list[Crop], size: int, device: torch.device | str) -> Tensor:
    """(n, 3, size, size) RGB in [0, 1] of crops of an RGB uint8 image."""
    views = torch.from_numpy(np.stack([crop.extract(image, size) for crop in crops])).to(device)
    return views.permute(0, 3, 1, 2).float() / 255


class CropReader:
    """Reads crops with the landmark network.

    Args:
        network: landmark network.
        crop: how crops are laid. The network reads upright hands; of axis-aligned crops the detection's keypoints
            stand.
        recrop: when they are laid anew.

    """

    def __init__(self, network: LandmarkNetwork, crop: CropConfig, recrop: RecropConfig = RecropConfig()) -> None:
        self.network, self.crop, self.recrop = network, crop, recrop

    @torch.inference_mode()
    def read(self, image: np.ndarray, candidates: list[Candidate], crops: list[Crop] | None = None) -> CropReadings:
        """Maps and keypoints of the candidates' crops, or of `crops` in their place."""
        crops = [candidate.crop for candidate in candidates] if crops is None else crops
        device = next(self.network.parameters()).device
        landmarks, maps = self.network.with_maps(views_of(image, crops, INPUT_PX, device))
        from_user = any(candidate.detection.points.source == "user" for candidate in candidates)
        if self.crop.upright and not from_user:
            return CropReadings(crops, by_scale(maps), landmarks.keypoints)
        parts = [_in_crop(candidate.detection.points, crop) for candidate, crop in zip(candidates, crops, strict=True)]
        return CropReadings(crops, by_scale(maps), stack_keypoints(parts, device))

    def read_settled(self, image: np.ndarray, candidates: list[Candidate]) -> CropReadings:
        """The same; a crop that shows its hand elsewhere than expected is laid anew and read again."""
        readings = self.read(image, candidates)
        if not self.crop.upright or any(candidate.detection.points.source == "user" for candidate in candidates):
            return readings
        crops, maps, keypoints = list(readings.crops), readings.maps, readings.keypoints
        around = np.stack([candidate.detection.points.xy for candidate in candidates])
        for _ in range(self.recrop.rounds):
            seen = np.stack([crop.to_photo(xy) for crop, xy in zip(crops, keypoints.xy.cpu().numpy(), strict=True)])
            distance = np.linalg.norm(seen - around, axis=2).mean(1)
            moved = [k for k, crop in enumerate(crops) if distance[k] > self.recrop.moved * crop.side]
            if not moved:
                break
            around = seen
            for k in moved:
                crops[k] = crop_around(seen[k], mirrored=crops[k].mirrored, config=self.crop)
            again = self.read(image, [candidates[k] for k in moved], [crops[k] for k in moved])
            index = torch.tensor(moved, device=keypoints.xy.device)
            maps = {scale: x.index_copy(0, index, again.maps[scale]) for scale, x in maps.items()}
            keypoints = _replaced(keypoints, index, again.keypoints)
        return CropReadings(crops, maps, keypoints)


def _replaced(keypoints: Keypoints2D, index: Tensor, new: Keypoints2D) -> Keypoints2D:
    """With these hands' keypoints in place of the old ones."""
    arrays: dict[str, Any] = {
        name: getattr(keypoints, name).index_copy(0, index, getattr(new, name)) for name in KEYPOINT_ARRAYS
    }
    return replace(keypoints, **arrays)


def _in_crop(keypoints: Keypoints2D, crop: Crop) -> Keypoints2D:
    """Keypoints of a photo as a crop shows them."""
    return replace(keypoints, xy=crop.to_crop(keypoints.xy), depth=keypoints.depth * 2 / crop.side)


def stack_keypoints(parts: list[Keypoints2D], device: torch.device | str) -> Keypoints2D:
    """A batch of hands' keypoints of one convention and source, on a device."""

    def stacked(name: str) -> Tensor:
        return torch.tensor(np.stack([getattr(part, name) for part in parts]), dtype=torch.float32, device=device)

    arrays: dict[str, Any] = {name: stacked(name) for name in KEYPOINT_ARRAYS}
    return replace(parts[0], **arrays)
