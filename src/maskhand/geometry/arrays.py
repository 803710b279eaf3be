"""Arrays of NumPy or PyTorch. Geometry is written once for both, through the Python array API standard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = Any
"""A NumPy array, or a PyTorch tensor on any device; all of one call are of one kind."""


def namespace(*arrays: Array) -> Any:
    """The functions of the arrays' kind, by the standard's names: NumPy itself, or PyTorch's made to follow it."""
    if isinstance(arrays[0], np.ndarray):
        return np
    import array_api_compat.torch

    return array_api_compat.torch


def device(array: Array) -> Any:
    """Where an array lies, as functions that make arrays take it."""
    return "cpu" if isinstance(array, np.ndarray) else array.device


class Constant:
    """Fixed numbers, as an array of any kind; made once for each kind, device and type.

    A fresh copy each time would make a GPU wait. The arrays are not to be written to.
    """

    def __init__(self, values: Sequence[Any] | np.ndarray, *, integers: bool = False) -> None:
        self.values = np.ascontiguousarray(values, np.int64 if integers else None)
        self.integers = integers
        self._made: dict[Any, Array] = {}

    def on(self, other: Array) -> Array:
        """Of the other array's kind and device, and, unless they are integers, of its type."""
        key = other.dtype if isinstance(other, np.ndarray) else (other.dtype, other.device)
        if key not in self._made:
            self._made[key] = self._copy(other)
        return self._made[key]

    def _copy(self, other: Array) -> Array:
        if isinstance(other, np.ndarray):
            return self.values if self.integers else self.values.astype(other.dtype)
        import torch

        with torch.inference_mode(mode=False):  # it may be made while predicting and used in training
            dtype = torch.int64 if self.integers else other.dtype
            return torch.tensor(self.values, dtype=dtype, device=other.device)


IDENTITY, MIRROR = Constant(np.eye(3)), Constant([-1.0, 1.0, 1.0])
"""The rotation that turns nothing, and what a mirror multiplies x, y and z by."""


def to_numpy(array: Array) -> np.ndarray:
    """The array on the CPU; NumPy's own as it is."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def like(values: Sequence[Any] | np.ndarray, other: Array) -> Array:
    """Floats as an array of the other's kind, type and device."""
    return namespace(other).asarray(values, dtype=other.dtype, device=device(other))


def normalised(vectors: Array) -> Array:
    """Vectors (..., n) of length one; zero stays zero."""
    xp = namespace(vectors)
    return vectors / xp.clip(xp.linalg.vector_norm(vectors, axis=-1, keepdims=True), 1e-12, None)


def unbind(vectors: Array) -> tuple[Array, ...]:
    """The entries along the last axis."""
    return tuple(vectors[..., k] for k in range(vectors.shape[-1]))
