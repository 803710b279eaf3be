"""Stage 2's batches: from feature shards, or live images and photos, always with what the landmark network says of
them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from maskhand.backbones.landmark_trunk import INPUT_PX
from maskhand.data.augmentation import augmented
from maskhand.data.cached import CachedSamples, mixed_batches
from maskhand.data.live import live_batches, with_photos
from maskhand.detection.landmark_network import LandmarkNetwork, shared_landmark_network
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.runtime.hand_network import HandNetwork
from maskhand.synthesis.scenes import TRAINING_SCENES
from maskhand.training.settings import ModelTraining


def live_seed(config: ModelTraining) -> int:
    """Seed of the live images."""
    return config.train.seed + 1


def cached_batches(
    config: ModelTraining, tables: list[CachedSamples], steps: Iterable[int]
) -> Iterator[dict[str, Tensor]]:
    """The batches of these numbers from tables of shards: synthetic images, then photos if there are any."""
    train, data = config.train, config.data
    shares = [1 - data.photo_share, data.photo_share] if data.photos else [1.0]
    return mixed_batches(tables, shares, train.batch_size, train.seed, steps, shift=data.shift)


def image_batches(
    config: ModelTraining, network: HandNetwork, photos: CachedSamples | None, steps: Iterable[int]
) -> Iterator[dict[str, Tensor]]:
    """The batches of these numbers from images made meanwhile, and photos, augmented, with the landmark network's
    keypoints.
    """
    train, data, device = config.train, config.data, network.device
    size, upright = network.model.encoder.backbone.input_px, config.network.crop.upright
    scenes = replace(TRAINING_SCENES, size=size, backgrounds=data.backgrounds, upright=upright)
    count = min(round(train.batch_size * data.photo_share), train.batch_size - 1) if photos is not None else 0
    steps, again, numbers = itertools.tee(steps, 3)
    batches = live_batches(
        free_hand_data(),
        scenes,
        seed=live_seed(config),
        batch=train.batch_size - count,
        steps=steps,
        workers=data.workers,
        repeats=data.repeats,
        device=device,
    )
    if photos is not None and count:
        batches = with_photos(batches, photos, count, train.seed, again, keep_on=device if data.in_memory else None)
    landmarks = shared_landmark_network().to(device)
    for step, batch in zip(numbers, batches, strict=True):
        generator = torch.Generator(device).manual_seed(train.seed * 1_000_003 + step)
        yield with_landmarks(augmented(batch, data.augment, generator), landmarks, network)


@torch.no_grad()
def with_landmarks(batch: dict[str, Tensor], landmarks: LandmarkNetwork, network: HandNetwork) -> dict[str, Tensor]:
    """A batch of images with the landmark network's keypoints, errors and all, as at inference; its map in the image's
    place where the image encoder goes on from that.
    """
    image = batch["image"]
    small = image
    if image.shape[-1] != INPUT_PX:
        small = interpolate(image, size=(INPUT_PX, INPUT_PX), mode="bilinear", antialias=True)
    if not network.config.crop.upright:  # true keypoints say how a crop is turned that shows its hand at any angle
        keypoints = landmarks.keypoints_turned_upright(small, batch["keypoints_2d"])
        maps = None
    else:
        read, maps = landmarks.with_maps(small)
        keypoints = read.keypoints
    points = torch.cat([keypoints.xy, keypoints.confidence[..., None], keypoints.depth[..., None]], -1)
    if maps is None or network.input_px is not None:
        return {**batch, "points": points}
    return {**{key: value for key, value in batch.items() if key != "image"}, "points": points, "map8": maps[8]}
