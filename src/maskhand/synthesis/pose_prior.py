"""Plausible hand poses from anatomy alone: 21 degrees of freedom, joint limits, couplings, no self-penetration.

Ranges, couplings and correlations were measured on 55 recorded real poses, fitted with our own hand; a third of the
samples follows a Gaussian copula with those correlations, a third sets each finger to one of four states, a third is
broad. (Source: this project's own measurement; published joint ranges agree with it.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.rotations import matrix_from_axis_angle
from maskhand.hand_model.collision import has_collision
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.views import random_rotations

# The fingers in the model's order: index, middle, little, ring; the thumb comes last.
DIP_PER_PIP, DIP_AT_0 = np.array([0.46, 0.62, 0.62, 0.68]), np.array([-4.0, -4.0, 0.0, -1.0])

# Degrees of freedom, in columns: 4 fingers x (MCP flexion, MCP abduction, PIP, DIP), then the thumb's five (16 to
# 20):
# sweep,
# palmar, twist, MCP, IP.
MCP, ABDUCTION, PIP, DIP = (np.arange(4) * 4 + k for k in range(4))

# What 95 % of the draws lie in [deg]; ring and little finger bend farther at the root, as the palm cups with them.
MCP_RANGE = np.array([(-17.0, 94.0), (-17.0, 96.0), (-19.0, 113.0), (-17.0, 100.0)])
PIP_RANGE, DIP_RANGE = (-4.0, 111.0), (-22.0, 82.0)
THUMB_RANGE = np.array([(-14.0, 53.0), (-10.0, 48.0), (-18.0, 53.0), (-34.0, 62.0)])  # sweep, palmar, MCP, IP
FINGER_STATES = np.array([(0.0, 4.0), (30.0, 35.0), (65.0, 70.0), (85.0, 98.0)])
STATE_SHARES = (0.35, 0.2, 0.2, 0.25)

_MCP_CORRELATION = np.array(
    [[1, 0.57, 0.29, 0.40], [0.57, 1, 0.60, 0.81], [0.29, 0.60, 1, 0.86], [0.40, 0.81, 0.86, 1]]
)
_PIP_CORRELATION = np.array(
    [[1, 0.47, 0.14, 0.30], [0.47, 1, 0.30, 0.41], [0.14, 0.30, 1, 0.60], [0.30, 0.41, 0.60, 1]]
)
_MCP_PIP_CORRELATION = 0.73
_THUMB_CORRELATION = np.array(
    [[1, 0.40, 0.25, 0.25], [0.40, 1, 0.40, 0.40], [0.25, 0.40, 1, 0.75], [0.25, 0.40, 0.75, 1]]
)


def _copula_factor() -> np.ndarray:
    """Square root of the (8, 8) correlation of MCP and PIP flexions, made positive definite."""
    cross = _MCP_PIP_CORRELATION * (_MCP_CORRELATION + _PIP_CORRELATION) / 2
    full = np.block([[_MCP_CORRELATION, cross], [cross, _PIP_CORRELATION]])
    values, vectors = np.linalg.eigh(full)
    factor = vectors * np.sqrt(values.clip(1e-3))
    return factor / np.linalg.norm(factor, axis=1, keepdims=True)


def sample_angles(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` draws of the 21 joint angles [deg], before any rejection. (count, 21)"""
    kind = rng.integers(0, 3, count)[:, None]
    copula = _copula(count, rng)
    states = _states(count, rng)
    broad = _broad(count, rng)
    flexions = np.where(kind == 0, copula, np.where(kind == 1, states, broad))  # (count, 8): MCP x 4, PIP x 4
    angles = np.zeros((count, 21))
    angles[:, MCP], angles[:, PIP] = flexions[:, :4], flexions[:, 4:]
    dip = DIP_AT_0 + DIP_PER_PIP * angles[:, PIP] + rng.normal(0, 12.5, (count, 4))
    angles[:, DIP] = dip.clip(*DIP_RANGE)
    angles[:, ABDUCTION] = _abduction(angles[:, MCP], rng)
    angles[:, 16:] = _thumb(count, rng)
    return angles


def _stretch(uniform: np.ndarray, ranges: np.ndarray | tuple[float, float]) -> np.ndarray:
    """Map (0, 1) so that its 2.5 % and 97.5 % points fall on the measured range, one for all columns or (columns,
    2).
    """
    low, high = np.asarray(ranges).T
    return low + (high - low) * ((uniform - 0.025) / 0.95).clip(-0.06, 1.06)


def _standing(normal: np.ndarray) -> np.ndarray:
    """The normal distribution function, to 2e-4."""
    return 0.5 * (1 + np.tanh(0.7979 * normal * (1 + 0.0447 * normal**2)))


def _copula(count: int, rng: np.random.Generator) -> np.ndarray:
    uniform = _standing(rng.normal(size=(count, 8)) @ _copula_factor().T)
    return np.concatenate([_stretch(uniform[:, :4], MCP_RANGE), _stretch(uniform[:, 4:], PIP_RANGE)], axis=1)


def _states(count: int, rng: np.random.Generator) -> np.ndarray:
    state = rng.choice(4, (count, 4), p=STATE_SHARES)
    repeats = rng.random((count, 3)) < 0.35  # neighbouring fingers often do the same
    order = (0, 1, 3, 2)  # index, middle, ring, little: neighbours on the hand
    for k in range(1, 4):
        state[:, order[k]] = np.where(repeats[:, k - 1], state[:, order[k - 1]], state[:, order[k]])
    mean = FINGER_STATES[state]  # (count, 4, 2)
    drawn = mean + rng.normal(0, 1, mean.shape) * (7, 8)
    return np.concatenate([drawn[..., 0], drawn[..., 1].clip(-8, 115)], axis=1)


def _broad(count: int, rng: np.random.Generator) -> np.ndarray:
    shared = rng.random((count, 1, 2))
    own = rng.random((count, 4, 2))
    uniform = 0.6 * shared + 0.4 * own
    return np.concatenate([_stretch(uniform[..., 0], MCP_RANGE), _stretch(uniform[..., 1], PIP_RANGE)], axis=1)


def _abduction(mcp: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sideways angle, positive towards the thumb; freedom shrinks as the finger bends."""
    count = len(mcp)
    spread = rng.normal(0.15, 0.65, (count, 1)) * np.array([9.0, 2.0, -12.0, -6.0])  # fan of the whole hand
    own = rng.normal(0, 1, (count, 4)) * np.array([10.0, 5.5, 12.0, 6.0]) - (5.0, 5.0, 4.0, 4.0)
    wave = rng.normal(0, 4.0, (count, 1))
    freedom = 1 - 0.75 * (mcp / 90).clip(0, 1)
    return ((spread + own + wave) * freedom).clip(-40, 25)


def _thumb(count: int, rng: np.random.Generator) -> np.ndarray:
    uniform = _standing(rng.normal(size=(count, 4)) @ np.linalg.cholesky(_THUMB_CORRELATION).T)
    sweep, palmar, mcp, ip = _stretch(uniform, THUMB_RANGE).T
    # The recorded thumbs are turned in by 17 degrees at this place, estimates of others out by 7: their skeletons
    # differ.
    twist = rng.normal(-5, 15, count) - 0.25 * (sweep - 20) + 0.25 * (palmar - 20)
    return np.stack([sweep, palmar, twist, mcp, ip], axis=1)


def pose_from_angles(angles: Float[Tensor, "B 21"], axes: JointAxes) -> Float[Tensor, "B 16 3 3"]:
    """Rotations of the 16 joints (the first is the identity) from joint angles [rad]. Differentiable."""

    def turn(axis: np.ndarray, angle: Tensor) -> Tensor:
        return matrix_from_axis_angle(angle[..., None] * angle.new_tensor(axis))

    flexion, up = axes.flexion, np.array([0.0, 1.0, 0.0])
    joints = [torch.eye(3, dtype=angles.dtype, device=angles.device).expand(len(angles), 3, 3)]
    for finger in range(4):
        mcp, abduction, pip, dip = angles[:, 4 * finger : 4 * finger + 4].unbind(1)
        axis = flexion[3 * finger]
        joints += [turn(up, abduction) @ turn(axis, mcp), turn(axis, pip), turn(axis, dip)]
    sweep, palmar, twist, mcp, ip = angles[:, 16:].unbind(1)
    bone = axes.thumb_bone
    palmar_axis = np.cross(up, bone) / np.linalg.norm(np.cross(up, bone))
    joints.append(turn(up, -sweep) @ turn(palmar_axis, palmar) @ turn(bone, twist))
    joints += [turn(flexion[12], mcp), turn(flexion[12], ip)]
    return torch.stack(joints, 1)


class PosePrior:
    """Draws poses without self-penetration, the wrist unturned."""

    def __init__(self, model: HandModel) -> None:
        self.model = model
        self.axes = JointAxes.of(model)

    @torch.no_grad()
    def sample(self, count: int, rng: np.random.Generator) -> Float[Tensor, "count 16 3 3"]:
        """`count` accepted poses; the first rotation is the identity."""
        kept: list[Tensor] = []
        missing = count
        while missing > 0:
            angles = torch.as_tensor(np.deg2rad(sample_angles(int(missing * 1.3) + 8, rng)), dtype=torch.float32)
            pose = pose_from_angles(angles, self.axes)
            keypoints = self.model.keypoints(pose, pose.new_zeros(len(pose), self.model.shape_count))
            pose = pose[~has_collision(keypoints)][:missing]
            kept.append(pose)
            missing -= len(pose)
        return torch.cat(kept)

    def batches(self, size: int, seed: int, steps: Iterable[int]) -> Iterator[Float[Tensor, "size 16 3 3"]]:
        """The batches of these numbers, with random global turns (Appendix B.1); batch k depends on (seed, k) alone."""
        for step in steps:
            rng = np.random.default_rng((seed, step))
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            pose = self.sample(size, rng)
            pose[:, 0] = random_rotations(size, generator)
            yield pose
