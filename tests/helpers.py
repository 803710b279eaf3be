"""Small networks, batches and runs that several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner, Result

from maskhand.checkpoint import read_weights
from maskhand.cli.main import app
from maskhand.geometry.camera import project_in_crop, translation_from_weak
from maskhand.geometry.crop import CropConfig
from maskhand.keypoints.config import KeypointHeadConfig
from maskhand.model.config import EncoderConfig, ModelConfig
from maskhand.runtime.config import NetworkConfig
from maskhand.runtime.hand_network import HandNetwork
from maskhand.tokenizer.config import TokenizerConfig
from maskhand.tokenizer.vq_mano import VqMano
from maskhand.training.schedule import TrainConfig
from maskhand.types import Keypoints2D

TOKENIZER = TokenizerConfig(token_count=32, codebook_size=64, code_dim=16, width=16, depth=1)


def run(*arguments: object) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def small_config(
    *, upright: bool = True, encoder: EncoderConfig | None = None, head: dict[str, Any] | None = None, **model: Any
) -> NetworkConfig:
    """A network of width 32, unless `model` says otherwise; `head`: settings of a keypoint head, of width 16."""
    keypoints = KeypointHeadConfig(**{"width": 16, **head}) if head is not None else KeypointHeadConfig()
    sizes = {"width": 32, "heads": 2, "encoder": encoder or EncoderConfig(), **model}
    return NetworkConfig(model=ModelConfig(**sizes), keypoints=keypoints, crop=CropConfig(upright=upright))


def small_network(tokenizer: VqMano | None = None, **changes: Any) -> HandNetwork:
    """`small_config` as a network, in evaluation mode."""
    return HandNetwork(small_config(**changes), tokenizer or VqMano(TOKENIZER).eval()).eval()


def keypoints_of(points: torch.Tensor, source: str = "landmark_network") -> Keypoints2D:
    """From (B, 21, 3 or 4) x, y, confidence, depth."""
    depth = points[..., 3] if points.shape[-1] == 4 else torch.full_like(points[..., 0], torch.nan)
    convention = "hand_model" if source == "user" else "landmark_network"
    return Keypoints2D(points[..., :2], points[..., 2], depth, points[:, 0, 2], convention, source)


def batch_of(hand_model, poses: torch.Tensor, count: int = 4) -> dict[str, torch.Tensor]:
    """Four hands with random features: what a shard would give."""
    pose, shape = poses[:count], 0.3 * torch.randn(count, 10)
    keypoints = hand_model.keypoints(pose, shape)
    camera = translation_from_weak(torch.tensor([[7.0, 0.01, -0.02]]).expand(count, 3))
    flat = project_in_crop(keypoints, camera)
    return {
        "map8": torch.randn(count, 40, 28, 28),
        "points": torch.cat([flat, torch.ones(count, 21, 1), torch.randn(count, 21, 1)], -1),
        "pose": pose,
        "shape": shape,
        "keypoints_3d": keypoints,
        "keypoints_2d": flat,
        "visible": torch.ones(count, 21, dtype=torch.bool),
        "labelled": torch.ones(count, dtype=torch.bool),
    }


def train_config(**changes: Any) -> TrainConfig:
    """A run of six steps on the CPU."""
    settings = dict(steps=6, batch_size=4, learning_rate=1e-3, evaluate_every=100, save_every=100, accelerator="cpu")
    return TrainConfig(**{**settings, **changes})


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Those that a run kept last."""
    return read_weights(folder / "last.safetensors")[0]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float = 0) -> None:
    """The same tensors by name."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=atol, rtol=0, msg=f"{key} differs")
