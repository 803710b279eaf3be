"""Where half precision pays."""

from __future__ import annotations

import torch

HALF_IS_SLOW = "this CPU has no bfloat16 arithmetic: going on in float32, which is many times faster here"


def half_is_fast(device: torch.device | str) -> bool:
    """Whether a device multiplies in bfloat16; PyTorch emulates it on CPUs that do not, many times slower than
    float32.
    """
    if torch.device(device).type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
