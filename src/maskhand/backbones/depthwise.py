"""Depthwise convolutions that learn on a CPU: forward and backward in Numba, channels last, the clipping around them
included.

PyTorch's backward pass of a depthwise convolution is several times slower than its arithmetic
(benchmarks/training_step.py).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from maskhand.jit import jit

_ZERO, _SIX = np.float32(0), np.float32(6)


def clipped_depthwise(
    x: Float[Tensor, "B C H W"],
    weight: Float[Tensor, "C 1 k k"],
    bias: Float[Tensor, " C"],
    stride: int,
    margins: tuple[int, int],
) -> Float[Tensor, "B C h w"]:
    """relu6, a depthwise convolution and relu6, in float32, on the CPU, with gradients.

    margins: zeros before and after the rows and the columns.
    """
    return _ClippedDepthwise.apply(x.float(), weight.float(), bias.float(), stride, margins)


class _ClippedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, margins: tuple[int, int]) -> Tensor:
        x = x.permute(0, 2, 3, 1).contiguous()
        taps = weight[:, 0].permute(1, 2, 0).contiguous()  # (k, k, C)
        height, width = ((side + sum(margins) - len(taps)) // stride + 1 for side in x.shape[1:3])
        y = x.new_empty(len(x), height, width, x.shape[3])
        _use_torchs_threads()
        _forward(x.numpy(), taps.numpy(), bias.numpy(), stride, margins[0], y.numpy())
        ctx.save_for_backward(x, taps, y)
        ctx.stride, ctx.before = stride, margins[0]
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, taps, y = ctx.saved_tensors
        of_y = gradients[0].permute(0, 2, 3, 1).contiguous()
        of_x, of_taps, of_bias = torch.empty_like(x), x.new_zeros(len(x), *taps.shape), x.new_zeros(len(x), x.shape[3])
        _use_torchs_threads()
        _backward(
            x.numpy(), taps.numpy(), y.numpy(), of_y.numpy(), ctx.stride, ctx.before,
            of_x.numpy(), of_taps.numpy(), of_bias.numpy(),
        )  # fmt: skip
        return of_x.permute(0, 3, 1, 2), of_taps.sum(0).permute(2, 0, 1)[:, None], of_bias.sum(0), None, None


def _use_torchs_threads() -> None:
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


# Arrays are (B, H, W, C) float32; the innermost loops run over channels, which lie side by side.


@jit
def _clipped(x, before, reach):  # pragma: no cover (compiled code)
    """One image clipped to [0, 6], with zeros around it so that no tap of the kernel falls outside."""
    rows, columns, channels = x.shape
    padded = np.zeros((rows + before + reach, columns + before + reach, channels), np.float32)
    for i in range(rows):
        for j in range(columns):
            for c in range(channels):
                padded[i + before, j + before, c] = min(max(x[i, j, c], _ZERO), _SIX)
    return padded


@partial(jit, parallel=True)
def _forward(x, taps, bias, stride, before, y):  # pragma: no cover (compiled code)
    size, channels = len(taps), len(bias)
    for b in prange(len(x)):
        padded = _clipped(x[b], before, size)
        total = np.empty(channels, np.float32)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for c in range(channels):
                    total[c] = bias[c]
                for p in range(size):
                    for q in range(size):
                        for c in range(channels):
                            total[c] += padded[i * stride + p, j * stride + q, c] * taps[p, q, c]
                for c in range(channels):
                    y[b, i, j, c] = min(max(total[c], _ZERO), _SIX)


@partial(jit, parallel=True)
def _backward(x, taps, y, of_y, stride, before, of_x, of_taps, of_bias):  # pragma: no cover (compiled code)
    """Fills of_x; adds to of_taps (B, k, k, C) and of_bias (B, C)."""
    size, channels = len(taps), taps.shape[2]
    for b in prange(len(x)):
        padded = _clipped(x[b], before, size)
        of_padded = np.zeros_like(padded)
        here = np.empty(channels, np.float32)
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for c in range(channels):
                    inside = (y[b, i, j, c] > _ZERO) & (y[b, i, j, c] < _SIX)
                    here[c] = of_y[b, i, j, c] if inside else _ZERO
                    of_bias[b, c] += here[c]
                for p in range(size):
                    for q in range(size):
                        for c in range(channels):
                            of_padded[i * stride + p, j * stride + q, c] += here[c] * taps[p, q, c]
                            of_taps[b, p, q, c] += here[c] * padded[i * stride + p, j * stride + q, c]
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                for c in range(channels):
                    inside = (x[b, i, j, c] > _ZERO) & (x[b, i, j, c] < _SIX)
                    of_x[b, i, j, c] = of_padded[i + before, j + before, c] if inside else _ZERO
