"""Fitting a predicted pose to 2D keypoints and their depths, held near the prediction by what joints can do.

Levenberg-Marquardt on small turns of the 16 joints and the translation: each joint may bend freely about its flexion
axis and hardly about the others, and bones that penetrate each other push apart. This project's addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from maskhand.errors import ConfigError
from maskhand.geometry.arrays import Array, Constant, like, namespace
from maskhand.geometry.camera import project_in_crop, projection_gradient
from maskhand.geometry.rotations import matrix_from_axis_angle, skew_matrix
from maskhand.hand_model.collision import penetration_depths
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.hand_model.joint_conventions import carried
from maskhand.hand_model.layer import HandModel, global_rotations
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS, KEYPOINT_TO_MODEL, MODEL_PARENTS


def _moves() -> np.ndarray:
    """(21, 16) whether turning a joint moves a keypoint."""
    moves = np.zeros((21, 16))
    for keypoint, at in enumerate(KEYPOINT_CARRIERS):
        while at >= 0:
            moves[keypoint, at] = 1.0
            at = MODEL_PARENTS[at]
    return moves


_KEYPOINT_OF_JOINT = tuple(KEYPOINT_TO_MODEL.index(joint) for joint in range(16))
_JOINT_KEYPOINT = Constant(_KEYPOINT_OF_JOINT, integers=True)
_FIRST_MOVED = Constant([9, *(k + 1 for k in _KEYPOINT_OF_JOINT[1:])], integers=True)  # wrist: the middle knuckle
_KIND_OF_JOINT = Constant([0, *(k for f in range(5) for k in ((4, 5, 6) if f == 4 else (1, 2, 3)))], integers=True)
_MOVES = Constant(_moves()[..., None, None])


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


def turn_precision(model: HandModel, expected: Float[Array, "7 3"]) -> Float[Array, "16 3 3"]:
    """Inverse covariance of each joint's expected error, in the joint's own axes; `expected` as
    `FitConfig.expected_turns`.
    """
    frame = _joint_frames(model).on(expected)
    kinds = namespace(expected).take(expected, _KIND_OF_JOINT.on(expected), axis=0)  # (16, 3)
    return (frame.mT * kinds[:, None] ** -2) @ frame


@lru_cache(maxsize=4)
def _joint_frames(model: HandModel) -> Constant:
    """(16, 3, 3) the axes of each joint's flexion, of its turn sideways and about its bone."""
    axes = JointAxes.of(model)
    joints = model.joint_template.astype(np.float64)
    tips = model.template[model.tips]
    frames = [np.eye(3)]
    for joint in range(1, 16):
        finger, place = divmod(joint - 1, 3)
        end = joints[joint + 1] if place < 2 else tips[finger]
        bone = (end - joints[joint]) / np.linalg.norm(end - joints[joint])
        flexion = axes.flexion[joint - 1] - (axes.flexion[joint - 1] @ bone) * bone
        flexion /= np.linalg.norm(flexion)
        frames.append(np.stack([flexion, np.cross(bone, flexion), bone]))
    return Constant(np.stack(frames))


def _by_turn(
    points: Float[Array, "B 21 3"], own: Float[Array, "B 21 3"], rotation: Float[Array, "B 16 3 3"]
) -> Float[Array, "B 21 16 3 3"]:
    """How points that go with the keypoints move with each joint's turn in its own axes."""
    centres = namespace(own).take(own, _JOINT_KEYPOINT.on(own), axis=1)
    lever = points[:, :, None] - centres[:, None]  # (B, 21, 16, 3)
    return -skew_matrix(lever) @ rotation[:, None] * _MOVES.on(own)


@dataclass(frozen=True)
class _Problem:
    """What the fit minimises: distances to the measured keypoints, to the prediction, and how deep bones penetrate
    each other.
    """

    model: HandModel
    config: FitConfig
    shape: Float[Array, "B S"]
    focal: float
    offsets: Float[Array, "21 3"] | None
    measured: Float[Array, "B 21 3"]
    certainty: Float[Array, "B 21 3"]
    precision: Float[Array, "B 16 3 3"]
    held: Float[Array, "B 51 51"]
    """The same of all turns and the shift."""

    def linearised(self, pose: Array, total: Array, translation: Array) -> list[Array]:
        """The cost (B,), and its curvature (B, 51, 51) and slope (B, 51) by turns and shift; `total`: all turns so
        far.
        """
        xp = namespace(pose)
        own = self.model.keypoints(pose, self.shape)  # (B, 21, 3), wrist at the origin
        rotation = global_rotations(pose)  # (B, 16, 3, 3)
        cost, residual, jacobian = self._reprojection(own, rotation, translation)
        overlap, by_keypoint = penetration_depths(own)
        margin, sigma = self.config.collision_margin_m, self.config.collision_sigma_m
        if bool(xp.any(overlap > -margin)):
            depth = xp.clip(overlap + margin, 0, None) / sigma
            moved = xp.permute_dims(_by_turn(own, own, rotation), (0, 1, 3, 2, 4))  # (B, 21, 3, 16, 3)
            parting = _flat(by_keypoint, 2, 3) @ xp.reshape(moved, (-1, 63, 48))
            parting = parting * xp.astype(depth > 0, depth.dtype)[..., None] / sigma  # (B, P, 48)
            cost = cost + xp.sum(depth * depth, axis=1)
            residual = xp.concat([residual, depth], axis=1)
            parting = xp.concat([parting, xp.zeros_like(parting[..., :3])], axis=-1)
            jacobian = xp.concat([jacobian, parting], axis=1)
        pull = (self.precision @ total[..., None])[..., 0]
        cost = cost + xp.sum(pull * total, axis=(1, 2))
        held_back = xp.concat([_flat(pull, 1, 2), xp.zeros_like(translation)], axis=1)
        slope = (jacobian.mT @ residual[..., None])[..., 0] + held_back
        return [cost, jacobian.mT @ jacobian + self.held, slope]

    def _reprojection(self, own: Array, rotation: Array, translation: Array) -> tuple[Array, Array, Array]:
        """Cost (B,), residual (B, 63) and its change by turns and shift (B, 63, 51), of the keypoints alone."""
        xp = namespace(own)
        points = own if self.offsets is None else own + carried(rotation, self.offsets)
        scale = 2 * self.focal / translation[:, None, 2:]  # metres at the wrist to the target's unit
        depth = scale * (points - points[:, :1])[..., 2:]
        seen = xp.concat([project_in_crop(points, translation, self.focal), depth], axis=-1)
        residual = (seen - self.measured) * self.certainty
        # Keypoints far off count less (Huber): they are more likely wrong than the hand is.
        far = xp.linalg.vector_norm(residual, axis=-1, keepdims=True)
        outlier = self.config.outlier
        robust = xp.sqrt(outlier / xp.clip(far, outlier, None))
        cost = xp.sum(xp.where(far < outlier, far * far, 2 * outlier * far - outlier**2), axis=(1, 2))
        by_point = 2 * self.focal * projection_gradient(points + translation[:, None])  # (B, 21, 2, 3)
        moved = _by_turn(points, own, rotation)  # (B, 21, 16, 3, 3)
        deeper = scale[..., None, None] * (moved - moved[:, :1])[..., 2:, :]  # about the target's own wrist
        turns = xp.permute_dims(xp.concat([by_point[:, :, None] @ moved, deeper], axis=-2), (0, 1, 3, 2, 4))
        by_shift = xp.concat([by_point, xp.zeros_like(by_point[:, :, :1])], axis=-2)  # moving all changes no depth
        jacobian = xp.concat([_flat(turns, 3, 4), by_shift], axis=-1) * (self.certainty * robust)[..., None]
        return cost, _flat(residual * robust, 1, 2), _flat(jacobian, 1, 2)


def _flat(array: Array, first: int, last: int) -> Array:
    """With the axes from `first` to `last` as one."""
    shape = array.shape
    joined = int(np.prod(shape[first : last + 1]))
    return namespace(array).reshape(array, (*shape[:first], joined, *shape[last + 1 :]))


def fit_keypoints(
    model: HandModel,
    pose: Float[Array, "B 16 3 3"],
    shape: Float[Array, "B S"],
    translation: Float[Array, "B 3"],
    target: Float[Array, "B 21 2"],
    trust: Float[Array, "B 21"],
    *,
    focal: float,
    depth: Float[Array, "B 21"] | None = None,
    depth_trust: Float[Array, "B 21"] | None = None,
    offsets: Float[Array, "21 3"] | None = None,
    spread: Float[Array, "B 21"] | None = None,
    config: FitConfig = FitConfig(),
    expected_turns: Float[Array, "7 3"] | None = None,
) -> tuple[Float[Array, "B 16 3 3"], Float[Array, "B 3"]]:
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
    xp = namespace(pose)
    if expected_turns is None:
        expected_turns = like(config.expected_turns, pose)
    precision = turn_precision(model, expected_turns) + xp.zeros_like(pose)
    if spread is not None:
        lowest, highest = config.spread_m / config.spread_limit, config.spread_m * config.spread_limit
        limited = xp.clip(xp.take(spread, _FIRST_MOVED.on(spread), axis=1), lowest, highest)
        precision = precision * (config.spread_m / limited)[..., None, None]
    guessed = xp.full_like(trust, xp.nan) if depth is None else depth
    depth_trust = trust if depth_trust is None else depth_trust * xp.astype(trust > 0, trust.dtype)
    depth_trust = xp.where(xp.isfinite(guessed), depth_trust, 0.0)
    guessed = xp.where(xp.isfinite(guessed), guessed, 0.0)
    problem = _Problem(
        model=model,
        config=config,
        shape=shape,
        focal=focal,
        offsets=offsets,
        measured=xp.concat([target, guessed[..., None]], axis=-1),
        certainty=xp.stack([trust / config.sigma, trust / config.sigma, depth_trust / config.depth_sigma], axis=-1),
        precision=precision,
        held=_held(precision, config.shift_precision),
    )
    return _levenberg_marquardt(problem, pose, translation)


def _held(precision: Float[Array, "B 16 3 3"], shift_precision: float) -> Float[Array, "B 51 51"]:
    """The inverse covariance of all turns and the shift."""
    xp, batch = namespace(precision), precision.shape[0]
    own = like(np.eye(16), precision)[:, None, :, None] * precision[:, :, :, None, :]  # (B, 16, 3, 16, 3)
    turns = xp.reshape(own, (batch, 48, 48))
    shift = like(shift_precision * np.eye(3), precision) + xp.zeros_like(precision[:, 0])
    above = xp.concat([turns, xp.zeros_like(turns[:, :, :3])], axis=2)
    below = xp.concat([xp.zeros_like(turns[:, :3]), shift], axis=2)
    return xp.concat([above, below], axis=1)


def _levenberg_marquardt(
    problem: _Problem, pose: Float[Array, "B 16 3 3"], translation: Float[Array, "B 3"]
) -> tuple[Float[Array, "B 16 3 3"], Float[Array, "B 3"]]:
    """A step that makes a hand's cost larger is taken back, and its next one is shorter."""
    xp = namespace(pose)
    state = [pose, xp.zeros_like(pose[..., 0]), translation]
    costs = problem.linearised(*state)
    damping, diagonal = xp.full_like(costs[0], problem.config.damping), like(np.eye(51), pose)
    for _ in range(problem.config.rounds):
        _, curvature, slope = costs
        damped = curvature + damping[:, None, None] * curvature * diagonal
        step = xp.linalg.solve(damped, slope[..., None])[..., 0]
        turn = -xp.clip(xp.reshape(step[:, :48], (-1, 16, 3)), -0.5, 0.5)
        moved = [state[0] @ matrix_from_axis_angle(turn), state[1] + turn, state[2] - step[:, 48:]]
        new_costs = problem.linearised(*moved)
        better = new_costs[0] < costs[0]
        damping = xp.where(better, damping / 4, damping * 8)
        state, costs = _chosen(better, moved, state), _chosen(better, new_costs, costs)
    return state[0], state[2]


def _chosen(better: Array, new: list[Array], old: list[Array]) -> list[Array]:
    """Each hand's new values where they are better, else its old ones."""
    xp = namespace(better)
    return [xp.where(xp.reshape(better, (-1, *[1] * (a.ndim - 1))), a, b) for a, b in zip(new, old, strict=True)]
