"""What reading crops with the frozen trunk costs: clipped in place, with new memory for every layer, and in bfloat16.

python benchmarks/trunk.py [--threads 1] [--batch 16] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import AbstractContextManager

import torch

from maskhand.detection.landmark_network import shared_landmark_network
from maskhand.training.precision import half_is_fast


def seconds(crops: torch.Tensor, how: AbstractContextManager) -> float:
    began = time.perf_counter()
    with how:
        shared_landmark_network().trunk(crops)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    crops = torch.rand(arguments.batch, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    # Frozen weights: with gradients enabled the layers only keep their inputs as they are.
    ways = {
        "in place": torch.no_grad,
        "new memory": torch.enable_grad,
        "bfloat16, new memory": lambda: torch.autocast("cpu", torch.bfloat16),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(arguments.rounds + 1):
        for name, way in ways.items():
            took = seconds(crops, way())
            if round_:  # the first one warms up
                times[name].append(took)
    fastest = statistics.median(times["in place"])
    for name, kept in times.items():
        median = statistics.median(kept)
        print(f"{name:22} {arguments.batch / median:7.1f} crops a second, {median / fastest:6.2f} x")
    print(f"half_is_fast: {half_is_fast('cpu')}")


if __name__ == "__main__":
    main()
