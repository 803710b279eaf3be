"""What learning costs in the image encoder: its compiled depthwise layers against convolutions proper, turn by turn.

python benchmarks/training_step.py [--threads 2] [--rounds 7] [--batch 32]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.functional import relu6

from maskhand.backbones import build_backbone
from maskhand.backbones.landmark_trunk import ClippedDepthwise, SameConv
from maskhand.model.config import EncoderConfig
from maskhand.model.encoder import Encoder
from maskhand.training.precision import half_is_fast


def seconds(encoder: Encoder, maps: torch.Tensor) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=half_is_fast("cpu")):
        levels = encoder({4: maps})
    sum(level.float().sum() for level in levels).backward()
    return time.perf_counter() - began


def convolution(layer: ClippedDepthwise, x: torch.Tensor) -> torch.Tensor:
    return relu6(SameConv.forward(layer, relu6(x)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    maps = torch.randn(arguments.batch, 40, 28, 28)
    compiled = ClippedDepthwise.forward
    for learns in ("late", "most"):
        encoder = Encoder(build_backbone("hand", learns), EncoderConfig(learns=learns), 128).train()
        times: dict[Callable, list[float]] = {compiled: [], convolution: []}
        for round_ in range(arguments.rounds + 1):
            for forward, kept in times.items():
                ClippedDepthwise.forward = forward
                took = seconds(encoder, maps)
                if round_:  # the first one warms up
                    kept.append(took)
        fast, slow = (statistics.median(kept) for kept in times.values())
        print(f"{learns:5} compiled {fast:6.3f} s, convolutions {slow:6.3f} s a step: {slow / fast:.2f} x")


if __name__ == "__main__":
    main()
