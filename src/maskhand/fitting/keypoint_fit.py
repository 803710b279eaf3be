"""Fitting a predicted pose to 2D keypoints and their depths, held near the prediction by what joints can do.

Levenberg-Marquardt on small turns of the 16 joints and the translation: each joint may bend freely about its flexion
axis and hardly about the others, and bones that penetrate each other push apart. This project's addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.errors import ConfigError
from maskhand.geometry.camera import project_in_crop, projection_gradient
from maskhand.geometry.fixed_tensor import fixed_tensor
from maskhand.geometry.rotations import matrix_from_axis_angle, skew_matrix
from maskhand.hand_model.collision import penetration_depths
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.hand_model.joint_conventions import carried
from maskhand.hand_model.layer import HandModel, global_rotations
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS, KEYPOINT_TO_MODEL, MODEL_PARENTS

_JOINT_KEYPOINT = tuple(KEYPOINT_TO_MODEL.index(joint) for joint in range(16))
_FIRST_MOVED = (9, *(keypoint + 1 for keypoint in _JOINT_KEYPOINT[1:]))  # the wrist: by the middle finger's knuckle
_KIND_OF_JOINT = (0, *(k for finger in range(5) for k in ((4, 5, 6) if finger == 4 else (1, 2, 3))))


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What the fit expects. Distances in an image: crop from -1 to 1."""

    sigma: float = 0.03
    """Expected error of a trusted keypoint."""
    depth_sigma: float = 0.07
    """Expected error of a keypoint's depth."""
    use_depth_certainty: bool = True
    """Trust a depth by the certainty predicted with it; False: as its keypoint."""
    expected_turns: tuple[tuple[float, float, float], ...] = (
        (0.25, 0.12, 0.09),  # wrist
        (0.24, 0.12, 0.02),  # MCP
        (0.32, 0.012, 0.035),  # PIP
        (0.45, 0.013, 0.065),  # DIP
        (0.31, 0.20, 0.24),  # thumb, CMC
        (0.20, 0.06, 0.16),  # thumb, MCP
        (0.45, 0.036, 0.05),  # thumb, IP
    )
    """Expected error of the prediction [rad] by kind of joint: in flexion, abduction, twist."""
    spread_m: float = 0.008
    """Spread of a keypoint [m] at which its joint is held as `expected_turns` says; less spread holds it tighter."""
    spread_limit: float = 20.0
    """The most that spread tightens or loosens a joint."""
    confidence_power: float = 4.0
    """A keypoint counts by this power of its confidence ..."""
    user_confidence_power: float = 2.0
    """... and one that a user gave by this."""
    outlier: float = 2.0
    """Distance, in expected errors, from which on a keypoint's pull stops growing (Huber)."""
    collision_sigma_m: float = 0.002
    """Expected penetration of bones [m], beyond what flesh absorbs."""
    collision_margin_m: float = 0.001
    """Distance of bones [m] under which they begin to push."""
    rounds: int = 3
    """Steps of Levenberg-Marquardt."""
    damping: float = 0.01
    """Of the first step."""
    shift_precision: float = 1e-4
    """Inverse variance of the translation [1/m^2]."""

    def __post_init__(self) -> None:
        for name in ("sigma", "depth_sigma", "spread_m", "outlier", "collision_sigma_m", "rounds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"fit.{name} is {getattr(self, name)}; it must be above 0")
        if len(self.expected_turns) != 7 or any(len(row) != 3 or min(row) <= 0 for row in self.expected_turns):
            raise ConfigError("fit.expected_turns must be seven rows of three positive angles [rad]")


def _moves() -> tuple[tuple[float, ...], ...]:
    """(21, 16) whether turning a joint moves a keypoint."""
    moves = [[0.0] * 16 for _ in KEYPOINT_CARRIERS]
    for keypoint, at in enumerate(KEYPOINT_CARRIERS):
        while at >= 0:
            moves[keypoint][at] = 1.0
            at = MODEL_PARENTS[at]
    return tuple(tuple(row) for row in moves)


_MOVES = _moves()


def turn_precision(model: HandModel, expected: Float[Tensor, "7 3"]) -> Float[Tensor, "16 3 3"]:
    """Inverse covariance of each joint's expected error, in the joint's own axes; `expected` as
    `FitConfig.expected_turns`.
    """
    frame, expected = _joint_frames(model, model.template.device), expected.to(model.template)
    return frame.mT @ torch.diag_embed(expected[fixed_tensor(_KIND_OF_JOINT, expected.device)] ** -2) @ frame


@lru_cache(maxsize=4)
def _joint_frames(model: HandModel, device: torch.device) -> Float[Tensor, "16 3 3"]:
    """The axes of each joint's flexion, of its turn sideways and about its bone."""
    axes = JointAxes.of(model)
    joints = model.joint_template.cpu().numpy().astype(np.float64)
    tips = model.template.cpu().numpy()[model.tips.cpu().numpy()]
    frames = [np.eye(3)]
    for joint in range(1, 16):
        finger, place = divmod(joint - 1, 3)
        end = joints[joint + 1] if place < 2 else tips[finger]
        bone = (end - joints[joint]) / np.linalg.norm(end - joints[joint])
        flexion = axes.flexion[joint - 1] - (axes.flexion[joint - 1] @ bone) * bone
        flexion /= np.linalg.norm(flexion)
        frames.append(np.stack([flexion, np.cross(bone, flexion), bone]))
    with torch.inference_mode(mode=False):
        return torch.as_tensor(np.stack(frames), dtype=model.template.dtype, device=device)


def _by_turn(
    points: Float[Tensor, "B 21 3"], own: Float[Tensor, "B 21 3"], rotation: Float[Tensor, "B 16 3 3"]
) -> Float[Tensor, "B 21 16 3 3"]:
    """How points that go with the keypoints move with each joint's turn in its own axes."""
    lever = points[:, :, None] - own[:, None, fixed_tensor(_JOINT_KEYPOINT, own.device)]  # (B, 21, 16, 3)
    return -skew_matrix(lever) @ rotation[:, None] * fixed_tensor(_MOVES, own.device, own.dtype)[..., None, None]


@dataclass(frozen=True)
class _Problem:
    """What the fit minimises: distances to the measured keypoints, to the prediction, and how deep bones penetrate
    each other.
    """

    model: HandModel
    config: FitConfig
    shape: Float[Tensor, "B S"]
    focal: float
    offsets: Float[Tensor, "21 3"] | None
    measured: Float[Tensor, "B 21 3"]
    certainty: Float[Tensor, "B 21 3"]
    precision: Float[Tensor, "B 16 3 3"]
    held: Float[Tensor, "B 51 51"]
    """The same of all turns and the shift."""

    def linearised(self, pose: Tensor, total: Tensor, translation: Tensor) -> list[Tensor]:
        """The cost (B,), and its curvature (B, 51, 51) and slope (B, 51) by turns and shift; `total`: all turns so
        far.
        """
        own = self.model.keypoints(pose, self.shape)  # (B, 21, 3), wrist at the origin
        rotation = global_rotations(pose)  # (B, 16, 3, 3)
        cost, residual, jacobian = self._reprojection(own, rotation, translation)
        overlap, by_keypoint = penetration_depths(own)
        margin, sigma = self.config.collision_margin_m, self.config.collision_sigma_m
        if bool((overlap > -margin).any()):
            depth = (overlap + margin).clamp(min=0) / sigma
            parting = by_keypoint.flatten(2) @ _by_turn(own, own, rotation).transpose(2, 3).flatten(3).flatten(1, 2)
            parting = parting * (depth > 0)[..., None] / sigma  # (B, P, 48)
            cost = cost + depth.square().sum(1)
            residual = torch.cat([residual, depth], 1)
            jacobian = torch.cat([jacobian, nn.functional.pad(parting, (0, 3))], 1)
        pull = (self.precision @ total[..., None])[..., 0]
        cost = cost + (pull * total).sum((1, 2))
        slope = (jacobian.mT @ residual[..., None])[..., 0] + nn.functional.pad(pull.flatten(1), (0, 3))
        return [cost, jacobian.mT @ jacobian + self.held, slope]

    def _reprojection(self, own: Tensor, rotation: Tensor, translation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cost (B,), residual (B, 63) and its change by turns and shift (B, 63, 51), of the keypoints alone."""
        points = own if self.offsets is None else own + carried(rotation, self.offsets)
        scale = 2 * self.focal / translation[:, None, 2:]  # metres at the wrist to the target's unit
        depth = scale * (points - points[:, :1])[..., 2:]
        seen = torch.cat([project_in_crop(points, translation, self.focal), depth], -1)
        residual = (seen - self.measured) * self.certainty
        # Keypoints far off count less (Huber): they are more likely wrong than the hand is.
        far = residual.norm(dim=-1, keepdim=True)
        outlier = self.config.outlier
        robust = (outlier / far.clamp(min=outlier)).sqrt()
        cost = torch.where(far < outlier, far.square(), 2 * outlier * far - outlier**2).sum((1, 2))
        by_point = 2 * self.focal * projection_gradient(points + translation[:, None])  # (B, 21, 2, 3)
        moved = _by_turn(points, own, rotation)  # (B, 21, 16, 3, 3)
        deeper = scale[..., None, None] * (moved - moved[:, :1])[..., 2:, :]  # about the target's own wrist
        turns = torch.cat([by_point[:, :, None] @ moved, deeper], -2).transpose(2, 3).flatten(3)  # (B, 21, 3, 48)
        by_shift = nn.functional.pad(by_point, (0, 0, 0, 1))  # moving all changes no depth
        jacobian = torch.cat([turns, by_shift], -1) * (self.certainty * robust)[..., None]
        return cost, (residual * robust).flatten(1), jacobian.flatten(1, 2)


def fit_keypoints(
    model: HandModel,
    pose: Float[Tensor, "B 16 3 3"],
    shape: Float[Tensor, "B S"],
    translation: Float[Tensor, "B 3"],
    target: Float[Tensor, "B 21 2"],
    trust: Float[Tensor, "B 21"],
    *,
    focal: float,
    depth: Float[Tensor, "B 21"] | None = None,
    depth_trust: Float[Tensor, "B 21"] | None = None,
    offsets: Float[Tensor, "21 3"] | None = None,
    spread: Float[Tensor, "B 21"] | None = None,
    config: FitConfig = FitConfig(),
    expected_turns: Float[Tensor, "7 3"] | None = None,
) -> tuple[Float[Tensor, "B 16 3 3"], Float[Tensor, "B 3"]]:
    """Pose and translation whose projected keypoints lie nearer to the target.

    Args:
        model: right hand.
        pose, shape, translation: the prediction, in the camera's frame [m].
        target: keypoints in units of the image plane times 2 x `focal` (a crop's [-1, 1]).
        trust: 0 to 1; 0 leaves a keypoint out.
        focal: focal length in sides of the crop.
        depth: how far behind the wrist each keypoint is thought to lie, in the target's unit (NaN: no idea).
        depth_trust: 0 upwards, 1 as expected; None: as the keypoint itself.
        offsets: where the target's points lie about our keypoints, in the axes of the joint that carries each [m].
        spread: of each keypoint [m]: a joint is held more loosely the larger the spread of the keypoint that it
            moves first. None: all joints as expected.
        config: what the fit expects.
        expected_turns: in place of `config.expected_turns`, to learn them through the fit.

    """
    if expected_turns is None:
        expected_turns = fixed_tensor(config.expected_turns, pose.device, pose.dtype)
    precision = turn_precision(model, expected_turns).to(pose).expand(len(pose), 16, 3, 3)
    if spread is not None:
        lowest, highest = config.spread_m / config.spread_limit, config.spread_m * config.spread_limit
        limited = spread[:, fixed_tensor(_FIRST_MOVED, spread.device)].clamp(lowest, highest)
        precision = precision * (config.spread_m / limited)[..., None, None]
    guessed = target.new_full(trust.shape, torch.nan) if depth is None else depth
    depth_trust = (trust if depth_trust is None else depth_trust * (trust > 0)) * guessed.isfinite()
    problem = _Problem(
        model=model,
        config=config,
        shape=shape,
        focal=focal,
        offsets=offsets,
        measured=torch.cat([target, guessed.nan_to_num()[..., None]], -1),
        certainty=torch.stack([trust / config.sigma, trust / config.sigma, depth_trust / config.depth_sigma], -1),
        precision=precision,
        held=_held(precision, config.shift_precision),
    )
    return _levenberg_marquardt(problem, pose, translation)


def _held(precision: Float[Tensor, "B 16 3 3"], shift_precision: float) -> Float[Tensor, "B 51 51"]:
    """The inverse covariance of all turns and the shift."""
    turns = torch.diag_embed(precision.movedim(1, -1)).permute(0, 3, 1, 4, 2).flatten(3).flatten(1, 2)  # (B, 48, 48)
    shift = torch.full((3,), shift_precision).to(precision).diag()
    return nn.functional.pad(turns, (0, 3, 0, 3)) + nn.functional.pad(shift, (48, 0, 48, 0))


def _levenberg_marquardt(
    problem: _Problem, pose: Float[Tensor, "B 16 3 3"], translation: Float[Tensor, "B 3"]
) -> tuple[Float[Tensor, "B 16 3 3"], Float[Tensor, "B 3"]]:
    """A step that makes a hand's cost larger is taken back, and its next one is shorter."""
    state = [pose, pose.new_zeros(len(pose), 16, 3), translation]
    costs = problem.linearised(*state)
    damping = torch.full_like(costs[0], problem.config.damping)
    for _ in range(problem.config.rounds):
        _, curvature, slope = costs
        damped = curvature + torch.diag_embed(damping[:, None] * curvature.diagonal(dim1=1, dim2=2))
        step = torch.linalg.solve(damped, slope)
        turn = -step[:, :48].unflatten(1, (16, 3)).clamp(-0.5, 0.5)
        moved = [state[0] @ matrix_from_axis_angle(turn), state[1] + turn, state[2] - step[:, 48:]]
        new_costs = problem.linearised(*moved)
        better = new_costs[0] < costs[0]
        damping = torch.where(better, damping / 4, damping * 8)
        state, costs = _chosen(better, moved, state), _chosen(better, new_costs, costs)
    return state[0], state[2]


def _chosen(better: Tensor, new: list[Tensor], old: list[Tensor]) -> list[Tensor]:
    """Each hand's new values where they are better, else its old ones."""
    return [torch.where(better.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in zip(new, old, strict=True)]
