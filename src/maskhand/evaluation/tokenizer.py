"""How much of a pose survives being spelled in tokens (paper Tables 7 and 8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.errors import UNREADABLE_NPZ, InputError
from maskhand.evaluation.metrics import aligned_point_error_mm
from maskhand.geometry.alignment import align_similarity
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.hand_model.layer import HandModel
from maskhand.hand_model.skeleton import WEBXR_TO_KEYPOINTS
from maskhand.synthesis.pose_prior import PosePrior, pose_from_angles
from maskhand.synthesis.views import random_rotations
from maskhand.tokenizer.vq_mano import VqMano

HELD_OUT_SEED = 987_654_321
"""No training batch is drawn from this seed."""


def held_out_poses(hand_model: HandModel, count: int = 5000) -> Float[Tensor, "count 16 3 3"]:
    """Poses of the prior, turned at random, that no training run sees."""
    pose = PosePrior(hand_model).sample(count, np.random.default_rng(HELD_OUT_SEED))
    pose[:, 0] = random_rotations(count, torch.Generator().manual_seed(HELD_OUT_SEED))
    return pose


def recorded_poses(path: str | Path, hand_model: HandModel, *, steps: int = 400) -> Float[Tensor, "N 16 3 3"]:
    """Recorded hands as poses of our hand: 21 joint angles fitted to WebXR joint positions (npz, positions_mm (N, 25,
    3)).

    Raises:
        InputError: no such file, or it lacks the array.

    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            positions = arrays["positions_mm"]
    except UNREADABLE_NPZ as error:
        raise InputError(f"{path} cannot be read as recorded poses (npz with positions_mm): {error}") from error
    target = torch.as_tensor(positions[:, list(WEBXR_TO_KEYPOINTS)] / 1000, dtype=torch.float32)
    axes = JointAxes.of(hand_model)
    angles = torch.full((len(target), 21), 0.3, requires_grad=True)
    shape = torch.zeros(1, hand_model.shape_count, requires_grad=True)  # one person's hand
    optimizer = torch.optim.Adam([angles, shape], lr=0.05)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 if step < steps * 2 // 3 else 0.01
        keypoints = hand_model.keypoints(pose_from_angles(angles, axes), shape.expand(len(target), -1))
        off = 1000 * (align_similarity(keypoints, target) - target).abs().mean()
        loss = off + 1e-3 * shape.square().sum() + 0.02 * angles.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pose = pose_from_angles(angles.detach(), axes)
    pose[:, 0] = random_rotations(len(pose), torch.Generator().manual_seed(HELD_OUT_SEED))
    return pose


@torch.no_grad()
def tokenizer_errors(
    tokenizer: VqMano, hand_model: HandModel, pose: Float[Tensor, "N 16 3 3"], *, batch: int = 500
) -> dict[str, float]:
    """PA-MPJPE and PA-MPVPE [mm] after tokens and back, mean shape; share of codes in use."""
    joints: list[Tensor] = []
    vertices: list[Tensor] = []
    used = torch.zeros(len(tokenizer.codebook.codes), dtype=torch.bool)
    for part in pose.split(batch):
        part = part.to(tokenizer.codebook.codes.device)
        tokens = tokenizer.encode(part)
        used[tokens.unique().cpu()] = True
        shape = part.new_zeros(len(part), hand_model.shape_count)
        found, wanted = hand_model(tokenizer.decode(tokens), shape), hand_model(part, shape)
        joints.append(aligned_point_error_mm(found.keypoints, wanted.keypoints).cpu())
        vertices.append(aligned_point_error_mm(found.vertices, wanted.vertices).cpu())
    return {
        "pa_mpjpe_mm": torch.cat(joints).mean().item(),
        "pa_mpvpe_mm": torch.cat(vertices).mean().item(),
        "codes_used": used.float().mean().item(),
    }
