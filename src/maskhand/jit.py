"""Numba's compiler, as this package uses it."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def jit(function: Callable, *, parallel: bool = False) -> Callable:
    """Numba's njit, cached on disk where there is a folder to write to."""
    try:
        return njit(cache=True, fastmath=True, parallel=parallel)(function)
    except RuntimeError:  # no writable folder: compile anew in each process
        return njit(fastmath=True, parallel=parallel)(function)
