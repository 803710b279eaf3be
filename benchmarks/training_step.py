"""What learning costs in the image encoder: its depthwise layers as matrices against convolutions proper, turn by turn.

python benchmarks/training_step.py [--threads 2] [--rounds 7] [--batch 32]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from maskhand.detection import landmark_network
from maskhand.model.config import EncoderConfig
from maskhand.model.encoder import Encoder


def seconds(encoder: Encoder, maps: torch.Tensor) -> float:
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        levels = encoder({4: maps})
    sum(level.float().sum() for level in levels).backward()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    maps = torch.randn(arguments.batch, 40, 28, 28)
    as_matrices = landmark_network.SMALL_MAP
    for learns in ("late", "most"):
        encoder = Encoder(EncoderConfig(learns=learns), 128).train()
        times: dict[int, list[float]] = {as_matrices: [], 0: []}
        for round_ in range(arguments.rounds + 1):
            for limit, kept in times.items():
                landmark_network.SMALL_MAP = limit
                took = seconds(encoder, maps)
                if round_:  # the first one warms up
                    kept.append(took)
        matrices, convolutions = (statistics.median(kept) for kept in times.values())
        ratio = convolutions / matrices
        print(f"{learns:5} matrices {matrices:6.3f} s, convolutions {convolutions:6.3f} s a step: {ratio:.2f} x")


if __name__ == "__main__":
    main()
