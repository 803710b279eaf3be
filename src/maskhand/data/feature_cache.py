"""Features of the frozen trunk, written once and trained on many times: what makes training on a laptop's CPU possible.

A shard is a folder of .npy arrays, one row per crop (a right hand, upright), N rows:

    map8 (N, 40, 28, 28) f16                                 the trunk's map of stride 8 points (N, 21, 4) f32
    network keypoints: x, y in [-1, 1], presence as confidence, depth world (N, 21, 3) f32
    network's own 3D [m], wrist at the origin pose (N, 16, 3, 3), shape (N, 10), keypoints_3d (N, 21, 3), keypoints_2d
    (N, 21, 2), visible (N, 21) labelled (N,) bool                                       False: a photo, whose
    keypoints_2d and _3d are a teacher's jpeg (bytes,) u8, jpeg_end (N,) i64                      if asked for: the
    crops themselves, for a trunk that learns whole

meta.json says what made it. A shard is complete once meta.json exists; a run that was stopped goes on with the missing
ones.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from maskhand.detection.landmark_network import LandmarkNetwork, shared_landmark_network
from maskhand.errors import InputError
from maskhand.synthesis.scenes import SCENES_VERSION, SceneConfig

JPEG_QUALITY = 92
POINTS_VERSION = 2
"""Raised whenever shards hold other numbers for the same crop: 2 with 0.7.0's unit of the landmark network's depth."""
TRUTH = {
    "pose": (16, 3, 3),
    "shape": (10,),
    "keypoints_3d": (21, 3),
    "keypoints_2d": (21, 2),
    "visible": (21,),
    "labelled": (),
}


class TrunkReader:
    """Runs the frozen landmark network over crops, in batches.

    `half` runs it in bfloat16: twice as fast where the CPU has it (`half_is_fast`), landmarks off by a third of a pixel
    of 224.
    """

    def __init__(
        self, network: LandmarkNetwork | None = None, *, batch: int = 16, device: str = "cpu", half: bool = False
    ) -> None:
        self.network = copy.deepcopy(network or shared_landmark_network()).to(device)
        self.batch, self.device, self.half = batch, device, half

    @torch.inference_mode()
    def __call__(self, images: np.ndarray, near: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Rows of map8, points and world for (B, 224, 224, 3) uint8 crops.

        near: (B, 21, 2) keypoints of crops that show their hands as they come, for points that are read upright all the
        same.
        """
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            maps, pooled = self.network.trunk(x.contiguous(memory_format=torch.channels_last))
        read = self.network.heads(pooled.float())
        world = read.world - read.world[:, :1]
        keypoints = (
            read.keypoints if near is None else self.network.keypoints_turned_upright(x, torch.from_numpy(near).to(x))
        )
        points = torch.cat([keypoints.xy, keypoints.confidence[..., None], keypoints.depth[..., None]], -1)
        rows = {"map8": maps[8].half(), "points": points, "world": world}
        return {key: value.cpu().contiguous().numpy() for key, value in rows.items()}


def write_shard(
    folder: str | Path,
    samples: Iterable[tuple[np.ndarray, dict[str, Any]]],
    reader: TrunkReader,
    meta: dict[str, Any],
    *,
    images: bool = False,
    upright: bool = True,
) -> int:
    """Write one shard from (crop, truth) pairs; nothing is left behind if it fails. Returns the number of rows.

    images: with the crops; upright: whether hands stand so in them.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.exists() and any(folder.iterdir()) and not _is_shard(folder)):
        raise InputError(f"{folder} exists and is no feature shard; name a folder of its own for the shard")
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    columns: dict[str, list[np.ndarray]] = {}
    waiting: list[np.ndarray] = []

    def flush() -> None:
        if waiting:
            near = None if upright else np.stack([truth["keypoints_2d"] for truth in truths[-len(waiting) :]])
            for key, rows in reader(np.stack(waiting), near).items():
                columns.setdefault(key, []).append(rows)
            waiting.clear()

    truths: list[dict[str, Any]] = []
    jpegs: list[np.ndarray] = []
    try:
        for image, truth in samples:
            waiting.append(image)
            truths.append(truth)
            if images:
                jpegs.append(
                    cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].ravel()
                )
            if len(waiting) == reader.batch:
                flush()
        flush()
        if not truths:
            raise InputError(f"there is nothing to write to {folder}: no image held a hand")
        for key, parts in columns.items():
            np.save(partial / f"{key}.npy", np.concatenate(parts))
        for key in TRUTH:
            kind = bool if key in ("visible", "labelled") else np.float32
            np.save(partial / f"{key}.npy", np.stack([np.asarray(t[key], kind) for t in truths]))
        if images:
            np.save(partial / "jpeg.npy", np.concatenate(jpegs))
            np.save(partial / "jpeg_end.npy", np.cumsum([len(jpeg) for jpeg in jpegs]))
        (partial / "meta.json").write_text(json.dumps({**meta, "points": POINTS_VERSION, "rows": len(truths)}))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(truths)


def _is_shard(folder: Path) -> bool:
    """Whether a folder is a feature shard and nothing else, so that a new one may take its place."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
    except (OSError, ValueError):
        return False
    own = all(path.is_file() and (path.suffix == ".npy" or path.name == "meta.json") for path in folder.iterdir())
    return own and isinstance(meta, dict) and {"source", "rows"} <= meta.keys()


def complete_shards(root: str | Path) -> list[Path]:
    """The finished shards under a folder, by name.

    Raises:
        InputError: there is none, or one was written by a version whose keypoints meant something else.

    """
    shards = sorted(path.parent for path in Path(root).rglob("meta.json"))
    if not shards:
        raise InputError(f"{root} holds no feature shard; write some with `maskhand data cache`")
    for shard in shards:
        if json.loads((shard / "meta.json").read_text()).get("points") != POINTS_VERSION:
            raise InputError(
                f"{shard} holds the landmark network's depth in another unit, as versions before 0.7.0 did; "
                "remove it and write it again with `maskhand data cache`"
            )
    return shards


def open_shard(folder: Path) -> dict[str, np.ndarray]:
    """Memory-mapped arrays of a shard."""
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


def synthetic_truths(samples: Iterable[Any]) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """(crop, truth) of synthetic samples."""
    for s in samples:
        truth = {key: getattr(s, key) for key in ("pose", "shape", "keypoints_3d", "keypoints_2d", "visible")}
        yield s.image, {**truth, "labelled": True}


def photo_truth(keypoints_2d: np.ndarray, keypoints_3d: np.ndarray) -> dict[str, Any]:
    """The truth of a photo: a teacher's 2D ([-1, 1]) and 3D (m) keypoints, no pose, no shape."""
    return {
        "pose": np.tile(np.eye(3), (16, 1, 1)),
        "shape": np.zeros(10),
        "keypoints_3d": keypoints_3d - keypoints_3d[:1],
        "keypoints_2d": keypoints_2d,
        "visible": np.ones(21, bool),
        "labelled": False,
    }


def synthetic_meta(
    *, seed: int, shard: int, rows: int, config: SceneConfig, half: bool = False, images: bool = False
) -> dict[str, Any]:
    """What the meta.json of a synthetic shard says."""
    return {
        "source": "synthetic",
        "seed": seed,
        "start": shard * rows,
        "rows": rows,
        "hand_model": "maskhand-free",
        "half": half,
        "images": images,
        "version": SCENES_VERSION,
        "scenes": asdict(config),
    }


def missing_shards(root: str | Path, shards: Iterable[int], **settings: Any) -> list[int]:
    """The shards that are not there yet. settings: `synthetic_meta`'s.

    Raises:
        InputError: one that is there was made otherwise.

    """
    missing = []
    for shard in shards:
        path = Path(root) / f"seed{settings['seed']}-{shard:05d}" / "meta.json"
        if not path.exists():
            missing.append(shard)
            continue
        there, wanted = (
            json.loads(path.read_text()),
            synthetic_meta(shard=shard, **settings) | {"points": POINTS_VERSION},
        )
        other = [
            key for key, value in wanted.items() if there.get(key) != value and not (key == "images" and there.get(key))
        ]
        if other:
            raise InputError(
                f"{path.parent} was made with other settings ({', '.join(other)}), "
                "or by a version that drew other images; "
                "name another folder, or remove it"
            )
    return missing


def cache_synthetic(
    root: str | Path, *, seed: int, shard: int, rows: int, config: SceneConfig, half: bool = False, images: bool = False
) -> int:
    """Write shard number `shard` of a seed. Runs in a worker process of its own."""
    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel
    from maskhand.synthesis.scenes import SceneGenerator

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    generator = SceneGenerator(HandModel(free_hand_data()), config, seed)
    samples = synthetic_truths(generator.samples(shard * rows, (shard + 1) * rows))
    meta = synthetic_meta(seed=seed, shard=shard, rows=rows, config=config, half=half, images=images)
    folder = Path(root) / f"seed{seed}-{shard:05d}"
    return write_shard(folder, samples, TrunkReader(half=half), meta, images=images, upright=config.upright)


def cache_shards(
    root: str | Path,
    *,
    seed: int,
    shards: Iterable[int],
    rows: int,
    config: SceneConfig,
    workers: int,
    half: bool = False,
    images: bool = False,
) -> None:
    """Write the shards that are missing, in worker processes, with a progress bar.

    Raises:
        InputError: one that is there was made with other settings, or by a version that drew other images.

    """
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from rich.console import Console
    from rich.progress import Progress

    settings: dict[str, Any] = {"seed": seed, "rows": rows, "config": config, "half": half, "images": images}
    missing = missing_shards(root, shards, **settings)
    if not missing:
        return
    with (
        Progress(console=Console(stderr=True), transient=True) as bar,
        ProcessPoolExecutor(max_workers=max(1, workers), mp_context=get_context("spawn")) as pool,
    ):
        task = bar.add_task("synthetic images", total=len(missing) * rows)
        jobs = [pool.submit(cache_synthetic, str(root), shard=s, **settings) for s in missing]
        for job in as_completed(jobs):
            bar.advance(task, job.result())
