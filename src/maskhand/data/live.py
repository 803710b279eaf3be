"""Synthetic images made while training, in the data loader's workers: nothing on disk, never the same image twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maskhand.data.cached import CachedSamples, mixed_indices
from maskhand.hand_model.layer import HandModel, HandModelData
from maskhand.synthesis.scenes import CHUNK, SceneConfig, SceneGenerator

WINDOW_STEPS = 64
"""Steps for which an image that appears several times can be drawn."""
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
    live: Iterator[dict[str, Tensor]],
    photos: CachedSamples,
    count: int,
    seed: int,
    steps: Iterable[int],
    *,
    keep_on: torch.device | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Batches of live images, of these numbers, each followed by `count` photos in a fresh random order each epoch.

    keep_on: the device to keep all photos on, read once; None: read anew each time.
    """
    kept: dict[str, Tensor] = {}
    if keep_on is not None:
        kept = {key: values.to(keep_on) for key, values in photos.images(np.arange(len(photos))).items()}
    for step, batch in zip(steps, live, strict=True):
        index = mixed_indices([len(photos)], [1.0], count, seed, step)[0]
        rows = (
            photos.images(index)
            if keep_on is None
            else {k: values[_sent(index, keep_on)] for k, values in kept.items()}
        )
        yield {key: torch.cat([values, rows[key].to(values.device)]) for key, values in batch.items()}


def live_batches(
    data: HandModelData,
    config: SceneConfig,
    *,
    seed: int,
    batch: int,
    steps: Iterable[int],
    workers: int,
    repeats: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[dict[str, Tensor]]:
    """The batches of these numbers, the same ones whatever the number of workers: batch k is drawn from chunks of its
    own.

    Some samples are left over if `batch` is not a whole number of chunks (`CHUNK`). With `repeats` above 1 it is drawn
    from a window of chunks that moves on by so many fewer each step; the first batch waits until it is full. Batches
    and window lie on `device`.
    """
    chunks = -(-batch // (CHUNK * repeats))
    window = chunks * (WINDOW_STEPS if repeats > 1 else 1)
    again, steps = itertools.tee(steps)
    order = _new_chunks(again, chunks, window)
    pinned = torch.device(device).type == "cuda"
    scenes = LiveScenes(data, config, seed)
    loader = iter(DataLoader(scenes, batch_size=None, sampler=order, num_workers=workers, pin_memory=pinned))  # type: ignore[arg-type]
    pool: dict[str, Tensor] = {}
    made = 0
    for step in steps:
        first = step * chunks
        for place in range(max(made, first), first + window):
            part = next(loader)
            if not pool:
                pool = {key: values.new_empty(window, *values.shape, device=device) for key, values in part.items()}
            for key, values in part.items():
                pool[key][place % window].copy_(values, non_blocking=True)
        made = first + window
        rows = _sent(np.random.default_rng((seed, step)).permutation(window * CHUNK)[:batch], device)
        yield {key: values.flatten(0, 1)[rows] for key, values in pool.items()}


def _sent(index: np.ndarray, device: torch.device | str) -> Tensor:
    """Row numbers on a device, which is not waited for."""
    rows = torch.from_numpy(index)
    return rows.pin_memory().to(device, non_blocking=True) if torch.device(device).type == "cuda" else rows


def _new_chunks(steps: Iterable[int], chunks: int, window: int) -> Iterator[int]:
    """The chunks that each step's window of them has and the one before has not."""
    made = 0
    for step in steps:
        yield from range(max(made, step * chunks), step * chunks + window)
        made = step * chunks + window
