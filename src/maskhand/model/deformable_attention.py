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
            total = total + _sampled(value, locations[:, level], weights[:, level])  # (Bh, d, n)
        mixed = total.unflatten(0, (batch, self.heads)).permute(0, 3, 1, 2).reshape(batch, count, -1)  # type: ignore[union-attr]
        return self.out(mixed)


def _sampled(
    values: Float[Tensor, "N d h w"], at: Float[Tensor, "N n p 2"], weights: Float[Tensor, "N n p"]
) -> Float[Tensor, "N d n"]:
    """Weighted sums of a map read between its cells; x, y in [-1, 1] from edge to edge, borders repeated."""
    if torch.onnx.is_in_onnx_export():
        return sampled_by_products(values, at, weights)
    return (grid_sample(values, at, align_corners=False, padding_mode="border") * weights[:, None]).sum(-1)


def sampled_by_products(
    values: Float[Tensor, "N d h w"], at: Float[Tensor, "N n p 2"], weights: Float[Tensor, "N n p"]
) -> Float[Tensor, "N d n"]:
    """The same as three matrix products, for small maps: ONNX Runtime is many times as fast at those as at
    `grid_sample`.
    """

    def shares(places: Tensor, size: int) -> Tensor:  # of each of a row's or column's cells: (N, n, p, size)
        cell = (((places + 1) * size - 1) / 2).clamp(0, size - 1)
        return (1 - (cell[..., None] - torch.arange(size, device=at.device)).abs()).clamp(min=0)

    height, width = (int(side) for side in values.shape[-2:])
    rows = shares(at[..., 1], height) * weights[..., None]
    cells = rows.transpose(-1, -2) @ shares(at[..., 0], width)  # (N, n, h, w)
    return values.flatten(2) @ cells.flatten(2).transpose(1, 2)
