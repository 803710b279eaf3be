"""Fixed numbers as tensors, made once per device: a fresh copy each time makes a GPU wait."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def fixed_tensor(values: tuple[Any, ...], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """The tensor of these numbers; not to be written to."""
    with torch.inference_mode(mode=False):  # it may be made while predicting and used in training
        return torch.tensor(values, dtype=dtype, device=device)
