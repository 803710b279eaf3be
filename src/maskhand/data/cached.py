"""Batches from feature shards: batch k depends on the seed, k and the list of shards alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate, pad

from maskhand.data.feature_cache import TRUTH, open_shard
from maskhand.errors import InputError
from maskhand.types import Keypoints2D


class CachedSamples:
    """Rows of many shards as one long table; feature maps stay on disk until asked for."""

    def __init__(self, shards: Sequence[Path], *, in_memory: bool = False) -> None:
        small: dict[str, list[np.ndarray]] = {key: [] for key in (*TRUTH, "points", "world")}
        self.shards = []
        for path in shards:
            arrays = open_shard(path)
            for key, parts in small.items():  # read and closed: systems give as few as 256 open files
                parts.append(np.array(arrays.pop(key)))
            self.shards.append({key: np.array(values) for key, values in arrays.items()} if in_memory else arrays)
        self.starts = np.cumsum([0] + [len(rows) for rows in small["labelled"]])
        self.small = {key: np.concatenate(parts) for key, parts in small.items()}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def images(self, index: np.ndarray) -> dict[str, Tensor]:
        """The rows of a batch with their crops, (n, S, S, 3) uint8 RGB, in the maps' place.

        Raises:
            InputError: the shards keep no crops.

        """
        owner = np.searchsorted(self.starts, index, side="right") - 1
        crops = []
        for o, i in zip(owner, index - self.starts[owner], strict=True):
            if "jpeg" not in self.shards[o]:
                raise InputError("these shards keep no crops; write them again with `maskhand data cache ... --images`")
            end = self.shards[o]["jpeg_end"]
            jpeg = self.shards[o]["jpeg"][(end[i - 1] if i else 0) : end[i]]
            crop = cv2.imdecode(np.asarray(jpeg), cv2.IMREAD_COLOR)
            if crop is None:
                raise InputError(f"crop {i} of shard {o} is damaged; write the shard again with `maskhand data cache`")
            crops.append(crop[:, :, ::-1])
        return {
            **{key: torch.from_numpy(values[index]) for key, values in self.small.items()},
            "image": torch.from_numpy(np.stack(crops)),
        }

    def rows(self, index: np.ndarray) -> dict[str, Tensor]:
        """The rows of a batch, as tensors; the map in float32."""
        owner = np.searchsorted(self.starts, index, side="right") - 1
        batch = {key: torch.from_numpy(values[index]) for key, values in self.small.items()}
        maps = np.stack([self.shards[o]["map8"][i - self.starts[o]] for o, i in zip(owner, index, strict=True)])
        batch["map8"] = torch.from_numpy(maps).float()
        return batch

    def inputs(self, index: np.ndarray, size: int | None) -> tuple[dict[str, Tensor], dict[int, Tensor] | Tensor]:
        """The rows of a batch, and a network's input: (n, 3, size, size) crops in [0, 1], or, for None, maps by
        scale.
        """
        if size is None:
            rows = self.rows(index)
            return rows, {4: rows["map8"]}
        rows = self.images(index)
        crops = rows["image"].permute(0, 3, 1, 2).float() / 255
        return rows, crops if crops.shape[-1] == size else interpolate(
            crops, size=(size, size), mode="bilinear", antialias=True
        )


def batch_keypoints(points: Float[Tensor, "B 21 4"]) -> Keypoints2D:
    """The landmark network's keypoints of a batch from their rows in a shard: x, y, presence, depth."""
    presence = points[..., 2]
    return Keypoints2D(
        points[..., :2], presence, points[..., 3], presence[:, 0], "landmark_network", "landmark_network"
    )


def mixed_indices(sizes: Sequence[int], shares: Sequence[float], batch: int, seed: int, step: int) -> list[np.ndarray]:
    """Row numbers into each table for one batch: fixed shares, every table walked in a fresh random order each
    epoch.
    """
    counts = [round(batch * share / sum(shares)) for share in shares]
    counts[0] += batch - sum(counts)
    chosen = []
    for table, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        places = np.arange(step * count, (step + 1) * count)
        picked = np.empty(count, np.int64)
        for epoch in np.unique(places // size):
            order = np.random.default_rng((seed, table, int(epoch))).permutation(size)
            at = places // size == epoch
            picked[at] = order[places[at] % size]
        chosen.append(picked)
    return chosen


def shifted(rows: dict[str, Tensor], cells: Int[np.ndarray, "n 2"]) -> dict[str, Tensor]:
    """Rows as if their crops had been cut elsewhere: right and down by whole cells of the map, whose edge is
    repeated.

    The trunk up to its stride 8 would make the same of such a crop but for the edge; what follows would not.
    """
    maps = rows["map8"]
    side = maps.shape[-1]
    most = int(np.abs(cells).max())
    padded = pad(maps, (most,) * 4, mode="replicate")
    cut = [x[:, most - down :, most - right :][:, :side, :side] for x, (right, down) in zip(padded, cells, strict=True)]
    by = torch.from_numpy(2 / side * cells).float()[:, None]
    points = rows["points"].clone()
    points[..., :2] += by
    return {**rows, "map8": torch.stack(cut), "points": points, "keypoints_2d": rows["keypoints_2d"] + by}


def mixed_batches(
    tables: Sequence[CachedSamples],
    shares: Sequence[float],
    batch: int,
    seed: int,
    steps: Iterable[int],
    *,
    shift: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """The batches of these numbers, with fixed shares of each table. shift: cells that crops move at most
    (`shifted`).
    """
    for step in steps:
        indices = mixed_indices([len(t) for t in tables], shares, batch, seed, step)
        parts = [table.rows(index) for table, index in zip(tables, indices, strict=True) if len(index)]
        rows = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        if shift:
            rows = shifted(
                rows, np.random.default_rng((seed, len(tables), step)).integers(-shift, shift + 1, (batch, 2))
            )
        yield rows
