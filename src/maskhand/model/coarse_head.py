"""Shape and camera from the coarsest features (the x-Attention head of paper Section 3.2.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskhand.model.attention import Attention, FeedForward
from maskhand.model.config import ModelConfig


class CoarseHead(nn.Module):
    """One learned query attends to the low-resolution map; linear layers read shape and weak camera off it."""

    def __init__(self, config: ModelConfig, positions: int, shape_count: int = 10) -> None:
        super().__init__()
        width, self.mean_scale = config.width, config.mean_scale
        self.query = nn.Parameter(0.02 * torch.randn(1, width))
        self.position = nn.Parameter(0.02 * torch.randn(positions, width))
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width),
                    "attend": Attention(width, config.heads, config.dropout),
                    "norm2": nn.LayerNorm(width),
                    "feed": FeedForward(width, config.feed_forward, config.dropout),
                }
            )
            for _ in range(config.coarse_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.shape, self.camera = nn.Linear(width, shape_count), nn.Linear(width, 3)
        for layer in (self.shape, self.camera):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)

    def forward(self, coarse: Float[Tensor, "B D h w"]) -> tuple[Float[Tensor, "B 10"], Float[Tensor, "B 3"]]:
        """Shape coefficients and the camera (s, tx, ty)."""
        context = coarse.flatten(2).transpose(1, 2) + self.position  # (B, h w, D)
        # The mean of the map rides along, so that what the backbone says of the whole image is one step away.
        x = self.query + context.mean(1, keepdim=True)
        for layer in self.layers:
            x = x + layer["attend"](layer["norm"](x), context)  # type: ignore[index]
            x = x + layer["feed"](layer["norm2"](x))  # type: ignore[index]
        x = self.norm(x[:, 0])
        raw = self.camera(x)
        scale = self.mean_scale * torch.exp(raw[:, :1].clamp(-2, 2))
        return self.shape(x), torch.cat([scale, 0.1 * raw[:, 1:]], dim=1)
