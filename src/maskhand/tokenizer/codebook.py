"""A learned codebook: nearest code, moving-average updates, resets of unused codes. All state lives in buffers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Codebook(nn.Module):
    """Quantises vectors to the nearest of `size` codes by Euclidean distance (van den Oord et al., 2017).

    Codes follow the exponential moving average of what is assigned to them; a code whose average count falls below
    `reset_below` is moved onto a random encoding of the batch (Jukebox; paper Section 3.1).
    """

    codes: Tensor
    ema_count: Tensor
    ema_sum: Tensor
    initialised: Tensor

    def __init__(self, size: int, dim: int, *, decay: float = 0.99, reset_below: float = 1.0) -> None:
        super().__init__()
        self.decay, self.reset_below = decay, reset_below
        self.register_buffer("codes", torch.randn(size, dim) / dim**0.5)
        self.register_buffer("ema_count", torch.zeros(size))
        self.register_buffer("ema_sum", torch.zeros(size, dim))
        self.register_buffer("initialised", torch.tensor(False))

    def nearest(self, z: Float[Tensor, "*b D"]) -> Int[Tensor, "*b"]:
        # |z - c|^2 = |z|^2 - 2 z.c + |c|^2, and |z|^2 changes no argmin.
        flat = z.reshape(-1, z.shape[-1])
        return torch.addmm(self.codes.square().sum(1), flat, self.codes.T, alpha=-2).argmin(1).view(z.shape[:-1])

    def forward(
        self, z: Float[Tensor, "B L D"]
    ) -> tuple[Float[Tensor, "B L D"], Float[Tensor, ""], Int[Tensor, "B L"]]:
        """The nearest codes (gradients pass straight through to z), ||z - sg[c]||^2, indices; updates the codes when
        training.
        """
        if self.training and not self.initialised:
            self._initialise(z.detach())
        index = self.nearest(z.detach())
        quantised = self.codes[index]
        if self.training:
            self._update(z.detach().reshape(-1, z.shape[-1]), index.reshape(-1))
        return z + (quantised - z).detach(), (z - quantised).square().mean(), index

    @torch.no_grad()
    def _initialise(self, z: Tensor) -> None:
        self.codes.copy_(self._random_encodings(z.reshape(-1, z.shape[-1]), len(self.codes)))
        self.ema_sum.copy_(self.codes)
        self.ema_count.fill_(1.0)
        self.initialised.fill_(True)

    @staticmethod
    def _random_encodings(z: Tensor, count: int) -> Tensor:
        chosen = z[torch.randint(len(z), (count,), device=z.device)]
        return chosen + 0.01 * z.std() * torch.randn_like(chosen)

    @torch.no_grad()
    def _update(self, z: Tensor, index: Tensor) -> None:
        count = torch.bincount(index, minlength=len(self.codes)).to(z.dtype)
        total = torch.zeros_like(self.codes).index_add_(0, index, z)
        if torch.distributed.is_available() and torch.distributed.is_initialized():  # what all devices have seen
            torch.distributed.all_reduce(count)
            torch.distributed.all_reduce(total)
        self.ema_count.mul_(self.decay).add_(count, alpha=1 - self.decay)
        self.ema_sum.mul_(self.decay).add_(total, alpha=1 - self.decay)
        self.codes.copy_(self.ema_sum / self.ema_count.clamp(min=1e-6)[:, None])
        dead = self.ema_count < self.reset_below
        fresh = self._random_encodings(z, len(self.codes))
        self.codes.copy_(torch.where(dead[:, None], fresh, self.codes))
        self.ema_sum.copy_(torch.where(dead[:, None], fresh * self.reset_below, self.ema_sum))
        self.ema_count.copy_(torch.where(dead, torch.full_like(self.ema_count, self.reset_below), self.ema_count))
