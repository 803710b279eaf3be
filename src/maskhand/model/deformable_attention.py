"""Multi-scale deformable attention (Zhu et al., ICLR 2021) around reference points that follow the 2D pose."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample


class DeformableAttention(nn.Module):
    """Each query samples a few points of each level, near its reference point."""

    def __init__(self, width: int, heads: int, levels: int, points: int, reach: float = 0.0) -> None:
        super().__init__()
        self.heads, self.levels, self.points, self.reach = heads, levels, points, reach
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        # Heads start in different directions, points at growing distances (as in Deformable DETR).
        angles = torch.arange(heads) * (2 * math.pi / heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)[:, None, None]
        distances = torch.arange(1, points + 1)[None, None, :, None] / points
        nn.init.zeros_(self.offsets.weight)
        self.offsets.bias.data = (0.25 * directions * distances).expand(heads, levels, points, 2).reshape(-1).clone()
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        nn.init.zeros_(self.out.weight)  # without effect at first
        nn.init.zeros_(self.out.bias)

    def project(self, pyramid: list[Float[Tensor, "B D _ _"]]) -> list[Float[Tensor, "Bh d _ _"]]:
        """Values of every level, split by head. Independent of the queries: computed once for all rounds."""
        values = []
        for level in pyramid:
            height, width = level.shape[-2:]
            value = self.value(level.flatten(2).transpose(1, 2))  # (B, hw, D)
            value = value.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1).flatten(0, 1)
            values.append(value.unflatten(-1, (height, width)).contiguous())
        return values

    def sampling_locations(
        self, query: Float[Tensor, "B n D"], reference: Float[Tensor, "B n 2"]
    ) -> tuple[Float[Tensor, "B n h l p 2"], Float[Tensor, "B n h l p"]]:
        """Where each query samples, x, y in [-1, 1], by head, level and point, and the attention weight of each
        sample.
        """
        shape = (self.heads, self.levels, self.points)
        offsets = self.offsets(query).unflatten(-1, (*shape, 2))
        if self.reach:
            offsets = self.reach * (offsets / self.reach).tanh()
        weights = self.weights(query).unflatten(-1, (self.heads, -1)).softmax(-1).unflatten(-1, shape[1:])
        return reference[:, :, None, None, None] + offsets, weights

    def forward(
        self,
        query: Float[Tensor, "B n D"],
        reference: Float[Tensor, "B n 2"],
        values: list[Float[Tensor, "Bh d _ _"]],
    ) -> Float[Tensor, "B n D"]:
        """reference: x, y in [-1, 1]."""
        batch, count = query.shape[:2]
        locations, weights = self.sampling_locations(query, reference)
        locations = locations.permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (Bh, l, n, p, 2)
        weights = weights.permute(0, 2, 3, 1, 4).flatten(0, 1)  # (Bh, l, n, p)
        total: Tensor | int = 0
        for level, value in enumerate(values):
            sampled = _sampled(value, locations[:, level])  # (Bh, d, n, p)
            total = total + (sampled * weights[:, level, None]).sum(-1)
        mixed = total.unflatten(0, (batch, self.heads)).permute(0, 3, 1, 2).reshape(batch, count, -1)  # type: ignore[union-attr]
        return self.out(mixed)


def _sampled(values: Float[Tensor, "N d h w"], at: Float[Tensor, "N n p 2"]) -> Float[Tensor, "N d n p"]:
    """Maps read between their cells; x, y in [-1, 1] from edge to edge, borders repeated."""
    if torch.onnx.is_in_onnx_export():
        return gathered(values, at)
    return grid_sample(values, at, align_corners=False, padding_mode="border")


def gathered(values: Float[Tensor, "N d h w"], at: Float[Tensor, "N n p 2"]) -> Float[Tensor, "N d n p"]:
    """What `grid_sample` gives, as one gather of the four cells around each point: ONNX Runtime is six times as fast at
    that.
    """
    height, width = (int(side) for side in values.shape[-2:])
    x = (((at[..., 0] + 1) * width - 1) / 2).clamp(0, width - 1)
    y = (((at[..., 1] + 1) * height - 1) / 2).clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    share_x, share_y = x - left, y - top
    cells = torch.stack([top * width + left, top * width + right, bottom * width + left, bottom * width + right])
    shares = torch.stack(
        [(1 - share_y) * (1 - share_x), (1 - share_y) * share_x, share_y * (1 - share_x), share_y * share_x]
    )
    rows = values.flatten(2).transpose(1, 2).flatten(0, 1)  # (N h w, d)
    starts = torch.arange(values.shape[0], device=values.device)[:, None, None] * (height * width)
    sampled = rows[cells.long() + starts] * shares[..., None]  # (4, N, n, p, d)
    return sampled.sum(0).permute(0, 3, 1, 2)
