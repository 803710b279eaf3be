"""Nudging a predicted pose towards measured keypoints, held near the prediction by what joints can do.

Levenberg-Marquardt on small turns of the 16 joints and the translation: each joint may bend freely about its flexion axis and
hardly about the others, and bones that cut each other push apart, so that the fit stays a hand. A few milliseconds; this
project's own addition, not the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.constants import constant
from maskhand.geometry.camera import project_in_crop, projection_gradient
from maskhand.geometry.rotations import matrix_from_axis_angle, skew_matrix
from maskhand.hand_model.axes import JointAxes
from maskhand.hand_model.contact import overlaps
from maskhand.hand_model.landmarks import carried
from maskhand.hand_model.layer import HandModel, global_rotations
from maskhand.hand_model.skeleton import KEYPOINT_CARRIERS, KEYPOINT_TO_MODEL, MODEL_PARENTS

ROUNDS = 3
OUTLIER = 2.0
"""Distance, in expected errors, from which on a keypoint's pull stops growing."""
DEPTH_SIGMA = 0.07
"""How far off a keypoint's guessed depth is expected to be, crop from -1 to 1 [ours]."""
FIRST_DAMPING, SHIFT_PRECISION = 0.01, 1e-4
CUT_SIGMA_M, CUT_MARGIN_M = 0.002, 0.001
"""How deep bones are expected to cut each other, beyond what flesh absorbs, and from how far apart on they push [ours]."""
SPREAD, LOOSEST = 0.008, 20.0
"""Spread of a keypoint [m] at which its joint is held as tightly as expected; the most it is held tighter or looser [ours]."""
_JOINT_KEYPOINT = tuple(KEYPOINT_TO_MODEL.index(joint) for joint in range(16))
_FIRST_MOVED = (9, *(keypoint + 1 for keypoint in _JOINT_KEYPOINT[1:]))  # the wrist: by the middle finger's knuckle
EXPECTED_TURNS = torch.tensor(
    [
        [0.25, 0.12, 0.09],  # wrist
        [0.24, 0.12, 0.02],  # MCP
        [0.32, 0.012, 0.035],  # PIP
        [0.45, 0.013, 0.065],  # DIP
        [0.31, 0.20, 0.24],  # thumb, CMC
        [0.20, 0.06, 0.16],  # thumb, MCP
        [0.45, 0.036, 0.05],  # thumb, IP
    ]
)
"""How far off the prediction is expected to be [rad]: about the flexion axis, sideways, about the bone. The proportions are those
that make renders come out best (`scripts/measure_expected_turns.py`), half as large again, which real hands want; but the tips'
bending is held to 0.45, so that a fit to wild keypoints stays a hand [ours]."""
_KIND_OF_JOINT = (0, *(k for finger in range(5) for k in ((4, 5, 6) if finger == 4 else (1, 2, 3))))


def _moves() -> tuple[tuple[float, ...], ...]:
    """(21, 16) whether turning a joint moves a keypoint."""
    moves = [[0.0] * 16 for _ in KEYPOINT_CARRIERS]
    for keypoint, at in enumerate(KEYPOINT_CARRIERS):
        while at >= 0:
            moves[keypoint][at] = 1.0
            at = MODEL_PARENTS[at]
    return tuple(tuple(row) for row in moves)


_MOVES = _moves()


def turn_precision(model: HandModel, expected: Float[Tensor, "7 3"] = EXPECTED_TURNS) -> Float[Tensor, "16 3 3"]:
    """Inverse covariance of each joint's expected correction, in the joint's own axes."""
    frame, expected = _joint_frames(model, model.template.device), expected.to(model.template)
    return frame.mT @ torch.diag_embed(expected[constant(_KIND_OF_JOINT, expected.device)] ** -2) @ frame


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
    lever = points[:, :, None] - own[:, None, constant(_JOINT_KEYPOINT, own.device)]  # (B, 21, 16, 3)
    return -skew_matrix(lever) @ rotation[:, None] * constant(_MOVES, own.device, own.dtype)[..., None, None]


@dataclass(frozen=True)
class _Problem:
    """What the fit minimises: distances to the measured keypoints, to the prediction, and how deep bones cut each other."""

    model: HandModel
    shape: Float[Tensor, "B S"]
    focal: float
    offsets: Float[Tensor, "21 3"] | None
    measured: Float[Tensor, "B 21 3"]
    certainty: Float[Tensor, "B 21 3"]
    precision: Float[Tensor, "B 16 3 3"]
    held: Float[Tensor, "B 51 51"]
    """The same of all turns and the shift."""

    def linearised(self, pose: Tensor, total: Tensor, translation: Tensor) -> list[Tensor]:
        """The cost (B,), and its curvature (B, 51, 51) and slope (B, 51) by turns and shift; `total`: all turns so far."""
        own = self.model.keypoints(pose, self.shape)  # (B, 21, 3), wrist at the origin
        rotation = global_rotations(pose)  # (B, 16, 3, 3)
        cost, residual, jacobian = self._off_keypoints(own, rotation, translation)
        overlap, by_keypoint = overlaps(own)
        if bool((overlap > -CUT_MARGIN_M).any()):
            cuts = (overlap + CUT_MARGIN_M).clamp(min=0) / CUT_SIGMA_M
            parting = by_keypoint.flatten(2) @ _by_turn(own, own, rotation).transpose(2, 3).flatten(3).flatten(1, 2)
            parting = parting * (cuts > 0)[..., None] / CUT_SIGMA_M  # (B, P, 48)
            cost = cost + cuts.square().sum(1)
            residual = torch.cat([residual, cuts], 1)
            jacobian = torch.cat([jacobian, nn.functional.pad(parting, (0, 3))], 1)
        pull = (self.precision @ total[..., None])[..., 0]
        cost = cost + (pull * total).sum((1, 2))
        slope = (jacobian.mT @ residual[..., None])[..., 0] + nn.functional.pad(pull.flatten(1), (0, 3))
        return [cost, jacobian.mT @ jacobian + self.held, slope]

    def _off_keypoints(self, own: Tensor, rotation: Tensor, translation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cost (B,), residual (B, 63) and its change by turns and shift (B, 63, 51), of the keypoints alone."""
        points = own if self.offsets is None else own + carried(rotation, self.offsets)
        scale = 2 * self.focal / translation[:, None, 2:]  # metres at the wrist to the target's unit
        depth = scale * (points - points[:, :1])[..., 2:]
        seen = torch.cat([project_in_crop(points, translation, self.focal), depth], -1)
        residual = (seen - self.measured) * self.certainty
        # Keypoints far off count less (Huber): they are more likely wrong than the hand is.
        far = residual.norm(dim=-1, keepdim=True)
        robust = (OUTLIER / far.clamp(min=OUTLIER)).sqrt()
        cost = torch.where(far < OUTLIER, far.square(), 2 * OUTLIER * far - OUTLIER**2).sum((1, 2))
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
    sigma: float = 0.03,
    depth_sigma: float = DEPTH_SIGMA,
    rounds: int = ROUNDS,
    expected_turns: Float[Tensor, "7 3"] = EXPECTED_TURNS,
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
        spread: how unsure the prediction is of each keypoint [m]: a joint is held more loosely the more unsure the keypoint is
            that it moves first. None: all joints as expected.
        sigma: how far off a trusted keypoint is expected to be, in the target's unit.
        depth_sigma: the same for the depth.
        rounds: steps.
        expected_turns: how far off the prediction is expected to be [rad], in the order of `EXPECTED_TURNS`.

    """
    precision = turn_precision(model, expected_turns).to(pose).expand(len(pose), 16, 3, 3)
    if spread is not None:
        unsure = spread[:, constant(_FIRST_MOVED, spread.device)].clamp(SPREAD / LOOSEST, SPREAD * LOOSEST)
        precision = precision * (SPREAD / unsure)[..., None, None]
    turns = torch.diag_embed(precision.movedim(1, -1)).permute(0, 3, 1, 4, 2).flatten(3).flatten(1, 2)  # (B, 48, 48)
    shift = torch.full((3,), SHIFT_PRECISION).to(pose).diag()
    guessed = target.new_full(trust.shape, torch.nan) if depth is None else depth
    depth_trust = trust if depth_trust is None else depth_trust * (trust > 0)
    problem = _Problem(
        model=model,
        shape=shape,
        focal=focal,
        offsets=offsets,
        measured=torch.cat([target, guessed.nan_to_num()[..., None]], -1),
        certainty=torch.stack([trust / sigma, trust / sigma, depth_trust * guessed.isfinite() / depth_sigma], -1),
        precision=precision,
        held=nn.functional.pad(turns, (0, 3, 0, 3)) + nn.functional.pad(shift, (48, 0, 48, 0)),
    )
    # Levenberg-Marquardt: a step that makes things worse is taken back, and the next one is shorter.
    place = [pose, pose.new_zeros(len(pose), 16, 3), translation]
    costs = problem.linearised(*place)
    damping = torch.full_like(costs[0], FIRST_DAMPING)
    for _ in range(rounds):
        _, curvature, slope = costs
        shortened = curvature + torch.diag_embed(damping[:, None] * curvature.diagonal(dim1=1, dim2=2))
        step = torch.linalg.solve(shortened, slope)
        turn = -step[:, :48].unflatten(1, (16, 3)).clamp(-0.5, 0.5)
        moved = [place[0] @ matrix_from_axis_angle(turn), place[1] + turn, place[2] - step[:, 48:]]
        new_costs = problem.linearised(*moved)
        better = new_costs[0] < costs[0]
        damping = torch.where(better, damping / 4, damping * 8)
        place, costs = _chosen(better, moved, place), _chosen(better, new_costs, costs)
    return place[0], place[2]


def _chosen(better: Tensor, new: list[Tensor], old: list[Tensor]) -> list[Tensor]:
    """Each hand's new values where they are better, else its old ones."""
    return [torch.where(better.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in zip(new, old, strict=True)]
