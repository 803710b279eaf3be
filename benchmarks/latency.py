"""How long one hand takes on the CPU: the whole call, detection included, and the network alone for T = 1, 3, 5.

python benchmarks/latency.py [--threads 2] [--runs 30] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from maskhand import load
from maskhand.assets import embedded
from maskhand.data.cached import batch_keypoints
from maskhand.io.photos import read_photo


def median_ms(call: Callable[[], object], runs: int) -> float:
    for _ in range(3):
        call()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    predictor = load()
    pixels = read_photo(embedded("demo.jpg")).pixels[:, :520].copy()  # one of the two hands
    assert len(predictor(pixels)) == 1  # noqa: S101
    crop, keypoints = torch.rand(1, 3, 224, 224), batch_keypoints(torch.rand(1, 21, 4))

    def network(steps: int) -> Callable[[], object]:
        return lambda: predictor.network.reconstruct(crop, keypoints, predictor.hand_model, steps=steps)

    result = {
        f"whole_call_t{t}_ms": median_ms(lambda t=t: predictor(pixels, steps=t), arguments.runs) for t in (1, 3, 5)
    }
    result |= {f"network_t{t}_ms": median_ms(network(t), arguments.runs) for t in (1, 3, 5)}
    large = load("large")
    result |= {
        f"large_whole_call_t{t}_ms": median_ms(lambda t=t: large(pixels, steps=t), arguments.runs) for t in (1, 5)
    }
    result["detection_ms"] = median_ms(lambda: predictor.detector.detect(pixels), arguments.runs)
    result["network_t5_over_t1"] = result["network_t5_ms"] / result["network_t1_ms"]
    if arguments.json:
        print(json.dumps({k: round(v, 2) for k, v in result.items()}))
        return
    for key, value in result.items():
        print(f"{key:24} {value:8.2f}")


if __name__ == "__main__":
    main()
