"""Any data set as webdataset tars: per hand a JPEG crop and an npz of its labels, no pickles.

    {name}-{split}-{shard:06d}.tar      {key}.jpg, {key}.npz, ...; the key is the sample's number, ten digits
    {name}-{split}-{shard:06d}.json     what is in that tar: count, samples offered, SHA-256, settings, what was left
    out and why manifest.json                       all of them together, written last

The npz: keypoints_2d in the crop's pixels, keypoints_3d [m] in the camera's frame, intrinsic of the crop, box, right,
name, and what else the data set has (`Sample`). A tar counts as done once its json is there, so a run that was stopped
goes on where it was.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskhand.data.datasets.source import Dataset
from maskhand.data.sample import Sample, problems
from maskhand.errors import InputError
from maskhand.geometry.crop import crop_of_box
from maskhand.io.files import made_folder

CROP_FACTOR = 2.0
"""Side of the stored crop over the larger side of the hand's box: room for augmentation."""
_LABELS = ("keypoints_3d", "vertices", "visible", "mano_pose", "mano_shape")


@dataclass(frozen=True)
class ShardConfig:
    """How shards are written."""

    rows: int = 1000
    """Hands per tar."""
    size: int = 320
    """Largest side of a crop [px]; smaller hands keep their own resolution."""
    quality: int = 92
    """Of the JPEG."""


def _number(value: int) -> str:
    return f"{value:010d}"


def crop_sample(sample: Sample, config: ShardConfig) -> tuple[bytes, dict[str, np.ndarray]]:
    """The JPEG crop and the labels that go with it."""
    pixels = sample.pixels()
    crop = crop_of_box(sample.hand_box, mirrored=False, factor=CROP_FACTOR)
    size = int(min(config.size, max(32, round(crop.side))))
    _, encoded = cv2.imencode(
        ".jpg", crop.extract(pixels, size)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, config.quality]
    )
    labels: dict[str, np.ndarray] = {"name": np.array(sample.name), "right": np.array(sample.side == "right")}

    def inside(points: np.ndarray) -> np.ndarray:
        return (crop.to_crop(points) + 1) * size / 2

    labels["box"] = inside(sample.hand_box.reshape(2, 2)).reshape(4)
    if sample.keypoints_2d is not None:
        labels["keypoints_2d"] = np.c_[inside(sample.keypoints_2d[:, :2]), sample.keypoints_2d[:, 2]]
    if sample.intrinsic is not None:
        shrink = size / crop.side
        corner = np.array(crop.centre) - crop.side / 2
        shift = np.array([[shrink, 0, -shrink * corner[0]], [0, shrink, -shrink * corner[1]], [0, 0, 1]])
        labels["intrinsic"] = shift @ sample.intrinsic
    for key in _LABELS:
        value = getattr(sample, key)
        if value is not None:
            labels[key] = value
    exact = {key: v.astype(np.float32) if v.dtype.kind == "f" else v for key, v in labels.items()}
    return encoded.tobytes(), exact


def write_tar(path: Path, samples: Iterable[Sample], first: int, config: ShardConfig) -> dict[str, Any]:
    """One tar and its json, whole or not at all; returns the json's content."""
    cv2.setNumThreads(1)
    partial = path.with_suffix(".tar.part")
    left_out: dict[str, str] = {}
    count = offered = 0
    with tarfile.open(partial, "w") as archive:
        for number, sample in enumerate(samples, start=first):
            offered += 1
            try:
                wrong = problems(sample)
                if wrong:
                    raise InputError("; ".join(wrong))
                image, labels = crop_sample(sample, config)
            except InputError as error:
                left_out[sample.name] = str(error)
                continue
            buffer = io.BytesIO()
            np.savez(buffer, **labels)  # type: ignore[arg-type]
            for suffix, content in (("jpg", image), ("npz", buffer.getvalue())):
                info = tarfile.TarInfo(f"{_number(number)}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            count += 1
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    partial.replace(path)
    entry = {
        "tar": path.name,
        "count": count,
        "first": first,
        "offered": offered,
        "sha256": digest,
        "settings": {**asdict(config), "crop_factor": CROP_FACTOR},
        "left_out": left_out,
    }
    _write_json(path.with_suffix(".json"), entry)
    return entry


def _write_json(path: Path, content: Any) -> None:
    partial = path.with_suffix(".json.part")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


@dataclass(frozen=True)
class Chunk:
    """The samples of one tar, made by the process that writes them."""

    make: Callable[[], Iterable[Sample]]
    count: int


def _listed(samples: list[Sample]) -> list[Sample]:
    return samples


def dataset_chunks(
    dataset: Dataset, root: str | Path, split: str, rows: int, limit: int | None = None
) -> Iterator[Chunk]:
    """A data set's samples, `rows` at a time."""
    samples = islice(dataset.samples(root, split), limit)
    while part := list(islice(samples, rows)):
        yield Chunk(functools.partial(_listed, part), len(part))


def synthetic_chunks(count: int, rows: int, seed: int) -> Iterator[Chunk]:
    """Synthetic images, drawn by the process that writes them."""
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        yield Chunk(functools.partial(synthetic_samples, seed, start, stop), stop - start)


def synthetic_samples(seed: int, start: int, stop: int) -> Iterator[Sample]:
    """Samples `start` to `stop` - 1 of a seed, as `Sample`s of their crop."""
    import torch

    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel
    from maskhand.synthesis.scenes import TRAINING_SCENES, SceneGenerator

    torch.set_num_threads(1)
    generator = SceneGenerator(HandModel(free_hand_data()), TRAINING_SCENES, seed)
    for number, drawn in enumerate(generator.samples(start, stop), start=start):
        size = len(drawn.image)
        yield Sample(
            name=f"seed{seed}/{number}",
            image=drawn.image,
            side="right",
            keypoints_2d=np.c_[(drawn.keypoints_2d + 1) * size / 2, np.ones(21)],
            keypoints_3d=np.c_[drawn.keypoints_3d, np.ones(21)],
            visible=drawn.visible,
            mano_pose=_axis_angles(drawn.pose),
            mano_shape=drawn.shape,
        )


def _axis_angles(pose: np.ndarray) -> np.ndarray:
    return np.concatenate([cv2.Rodrigues(rotation.astype(np.float64))[0][:, 0] for rotation in pose])


def prepare(
    out: str | Path,
    name: str,
    chunks: Iterable[Chunk],
    config: ShardConfig,
    *,
    workers: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write all tars that are not there yet, then the manifest; returns it.

    Args:
        out: folder; made if absent.
        name: what the tars are called.
        chunks: one per tar; the same ones in the same order on every run.
        config: how.
        workers: processes.
        progress: called once per tar.

    """
    out = made_folder(out)
    workers = workers or os.cpu_count() or 1
    entries: dict[int, dict[str, Any]] = {}
    running: dict[Future[dict[str, Any]], int] = {}

    def collect(until: int) -> None:
        while len(running) > until:
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                entries[running.pop(job)] = job.result()
                progress()

    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        for shard, chunk in enumerate(chunks):
            path = out / f"{name}-{shard:06d}.tar"
            done = _finished(path)
            if done is not None and not done["left_out"]:  # what was left out may have been mended since
                _same_settings(path, done, chunk, config)
                entries[shard] = done
                progress()
                continue
            running[pool.submit(_write_chunk, path, chunk, shard * config.rows, config)] = shard
            collect(until=workers)  # few chunks wait in memory
        collect(until=0)
    ordered = [entries[k] for k in sorted(entries)]
    if not ordered:
        raise InputError(f"there is nothing to write to {out}")
    manifest = {
        "name": name,
        "count": sum(entry["count"] for entry in ordered),
        "left_out": sum(len(entry["left_out"]) for entry in ordered),
        "shards": ordered,
    }
    _write_json(out / "manifest.json", manifest)
    return manifest


def _write_chunk(path: Path, chunk: Chunk, first: int, config: ShardConfig) -> dict[str, Any]:
    return write_tar(path, chunk.make(), first, config)


def _same_settings(path: Path, entry: dict[str, Any], chunk: Chunk, config: ShardConfig) -> None:
    """Raises InputError: a finished tar holds other samples, or was written with other settings."""
    if entry["settings"] != {**asdict(config), "crop_factor": CROP_FACTOR} or entry["offered"] != chunk.count:
        raise InputError(
            f"{path} was written with other settings ({entry['settings']}, {entry['offered']} samples offered); "
            "use another folder, or the same settings and count to go on"
        )


def _finished(path: Path) -> dict[str, Any] | None:
    """The json of a tar that is there and whole; None otherwise."""
    try:
        entry = json.loads(path.with_suffix(".json").read_text())
        whole = hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"] and "settings" in entry
    except (OSError, json.JSONDecodeError, KeyError):
        return None
    return entry if whole else None


def read_shards(out: str | Path) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Crops (S, S, 3) uint8 RGB and labels of all shards in a folder, in order. Any webdataset reader can read them
    too.

    Raises:
        InputError: a tar is missing or is not the one in the manifest.

    """
    out = Path(out)
    try:
        manifest = json.loads((out / "manifest.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"{out} has no manifest.json; run `maskhand data prepare` to its end: {error}") from error
    for entry in manifest["shards"]:
        path = out / entry["tar"]
        if _finished(path) is None:
            raise InputError(f"{path} is missing or not the one in the manifest; run `maskhand data prepare` again")
        with tarfile.open(path) as archive:
            image = np.zeros((0, 0, 3), np.uint8)
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                if member.name.endswith(".jpg"):
                    coded = np.frombuffer(content.read(), np.uint8)
                    image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]
                else:
                    with np.load(io.BytesIO(content.read()), allow_pickle=False) as arrays:
                        yield image, dict(arrays)
