"""Multi-head attention and the feed-forward layer, as every block here uses them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout


class Attention(nn.Module):
    """Multi-head attention of queries over a context."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key_value, self.out = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )

    def forward(self, x: Float[Tensor, "B n D"], context: Float[Tensor, "B m D"]) -> Float[Tensor, "B n D"]:
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, h, n, d)
        key, value = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Written out: for some 80 tokens this trains five times as fast on a CPU as the fused kernel.
        weights = (query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5).softmax(-1)
        mixed = dropout(weights, self.dropout, self.training) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, factor: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Linear(width, factor * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(factor * width, width)
        )
