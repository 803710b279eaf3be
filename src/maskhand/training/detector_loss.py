"""The hand detector's loss: which cell is responsible for which hand, and how far off it is.

Cells near a hand's centre, on the map that suits its size, as in FCOS (Tian et al., 2019); scores learn the overlap
of their box (quality focal loss, Li et al., 2020); boxes by generalised IoU (Rezatofighi et al., 2019).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from maskhand.detection.box_network import CellOutputs, cells
from maskhand.synthesis.crowds import CrowdBatch

SIDE_RANGES = {8: (0.0, 72.0), 16: (48.0, 160.0), 32: (112.0, 1e6)}
"""Larger side of the hands [px] that a map of this stride is responsible for; the ranges overlap."""
_NEAR = 1.5  # strides
_SCORE_WEIGHT, _BOX_WEIGHT, _SIDE_WEIGHT, _DIRECTION_WEIGHT = 2.0, 2.0, 0.3, 0.3


def detector_loss(outputs: CellOutputs, batch: CrowdBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and its parts."""
    height, width = batch.image.shape[-2:]
    owner, counts = assign(batch, height, width)
    positive = owner >= 0
    chosen = owner.clamp(min=0)
    target = batch.boxes.gather(1, chosen[..., None].expand(-1, -1, 4))[positive]
    boxes = outputs.boxes[positive]
    overlap, generalised = overlaps(boxes, target)
    quality = torch.zeros_like(outputs.score)
    quality[positive] = overlap.detach().clamp(0, 1)
    focus = (quality - outputs.score.sigmoid()).square()
    total = positive.sum().clamp(min=1)
    score = (focus * binary_cross_entropy_with_logits(outputs.score, quality, reduction="none") * counts).sum() / total
    box = (1 - generalised).sum() / total
    right, known = _known(batch.right, chosen, positive)
    side = binary_cross_entropy_with_logits(outputs.right[positive], right, reduction="none")
    side = (side * known).sum() / known.sum().clamp(min=1)
    wanted, pointed = _known(batch.direction, chosen, positive)
    cosine = (normalize(outputs.direction[positive], dim=-1) * normalize(wanted, dim=-1)).sum(-1)
    direction = ((1 - cosine) * pointed[..., 0]).sum() / pointed[..., 0].sum().clamp(min=1)
    loss = _SCORE_WEIGHT * score + _BOX_WEIGHT * box + _SIDE_WEIGHT * side + _DIRECTION_WEIGHT * direction
    return loss, {"score": score, "box": box, "side": side, "direction": direction}


def _known(values: Tensor, chosen: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """What the positive cells' hands have, 0 where it is unknown, and where it is known."""
    index = chosen if values.ndim == 2 else chosen[..., None].expand(-1, -1, values.shape[-1])
    mine = values.gather(1, index)[positive]
    return mine.nan_to_num(), (~torch.isnan(mine)).float()


def assign(batch: CrowdBatch, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Which hand each cell is responsible for, (B, N), -1: none; and whether the cell counts, (B, N) in {0, 1}."""
    centres, strides = (x.to(batch.boxes.device) for x in cells(height, width))
    boxes = batch.boxes[:, None]  # (B, 1, M, 4)
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    away = (centres[None, :, None] - middle).abs()
    reach = torch.minimum(_NEAR * strides[:, None, None], torch.maximum(size / 2, 0.6 * strides[:, None, None]))
    low, high = (
        torch.tensor([SIDE_RANGES[int(s)][k] for s in strides.tolist()], device=centres.device)[:, None] for k in (0, 1)
    )
    largest = size.amax(-1)
    mine = (away < reach).all(-1) & (largest >= low) & (largest < high) & batch.present[:, None]
    area = torch.where(mine, size.prod(-1), torch.inf)
    smallest, owner = area.min(-1)
    owner = torch.where(smallest < torch.inf, owner, -1)
    within = ((centres[None, :, None] - boxes[..., :2] > 0) & (boxes[..., 2:] - centres[None, :, None] > 0)).all(-1)
    counts = ~(within & batch.ignored[:, None]).any(-1) | (owner >= 0)
    return owner, counts.float()


def overlaps(one: Float[Tensor, "K 4"], other: Float[Tensor, "K 4"]) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """IoU and generalised IoU of pairs of boxes."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(-1) for box in (one, other)]
    union = (areas[0] + areas[1] - shared).clamp(min=1e-6)
    around = torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])
    whole = around.prod(-1).clamp(min=1e-6)
    iou = shared / union
    return iou, iou - (whole - union) / whole
