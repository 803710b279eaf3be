"""Synthetic images made while training, in the data loader's workers: nothing on disk, never the same image twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maskhand.data.cached import CachedSamples, mixed_indices
from maskhand.hand_model.layer import HandModel, HandModelData
from maskhand.synthesis.scenes import CHUNK, SceneConfig, SceneGenerator

TRUTH = ("pose", "shape", "keypoints_3d", "keypoints_2d", "visible")


class LiveScenes(Dataset):
    """Item k is chunk k of a seed: a dict of stacked arrays, images as (n, S, S, 3) uint8."""

    def __init__(self, data: HandModelData, config: SceneConfig, seed: int) -> None:
        self.data, self.config, self.seed = data, config, seed
        self.generator: SceneGenerator | None = None  # made in the worker

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self.generator is None:
            cv2.setNumThreads(1)
            self.generator = SceneGenerator(HandModel(self.data), self.config, self.seed)
        samples = self.generator.chunk(index)
        batch = {key: torch.from_numpy(np.stack([getattr(s, key) for s in samples])) for key in (*TRUTH, "image")}
        return {**batch, "labelled": torch.ones(len(samples), dtype=torch.bool)}


def with_photos(
    live: Iterator[dict[str, Tensor]], photos: CachedSamples, count: int, seed: int, steps: Iterable[int]
) -> Iterator[dict[str, Tensor]]:
    """Batches of live images, of these numbers, each followed by `count` photos in a fresh random order each epoch."""
    for step, batch in zip(steps, live, strict=True):
        rows = photos.images(mixed_indices([len(photos)], [1.0], count, seed, step)[0])
        yield {key: torch.cat([values, rows[key]]) for key, values in batch.items()}


def live_batches(
    data: HandModelData, config: SceneConfig, *, seed: int, batch: int, steps: Iterable[int], workers: int
) -> Iterator[dict[str, Tensor]]:
    """The batches of these numbers, the same ones whatever the number of workers: batch k has the first `batch` samples of chunks
    of its own.

    Samples beyond a whole number of chunks (`CHUNK`) are made and left out.
    """
    chunks = -(-batch // CHUNK)
    order = (step * chunks + k for step in steps for k in range(chunks))
    loader = DataLoader(LiveScenes(data, config, seed), batch_size=None, sampler=order, num_workers=workers)  # type: ignore[arg-type]
    waiting: list[dict[str, Tensor]] = []
    for part in loader:
        waiting.append(part)
        if len(waiting) == chunks:
            yield {key: torch.cat([w[key] for w in waiting])[:batch] for key in part}
            waiting.clear()
