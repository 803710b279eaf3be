"""What one hand costs at least on this machine: arithmetic and weights of each graph, beside what the machine can do.

python benchmarks/floor.py [--threads 2] [--save results/VERSION]
"""

from __future__ import annotations

import time

import torch
from measure import keep, parser
from torch.utils.flop_counter import FlopCounterMode

from maskhand.assets import embedded, read_network
from maskhand.runtime.graphs import detection_graphs, hand_graphs

RUNS = {"hands": 1, "palms": 1, "landmarks": 2, "encode": 1, "round": 1, "mean": 1, "pose": 7}
"""Of each graph for one hand: its crop is laid anew once, and six poses are drawn for its confidence."""
SIDE = 2048


def gflops() -> float:
    """Of a product of large matrices [1e9 multiplications and additions a second]."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    a @ b
    began = time.perf_counter()
    for _ in range(10):
        a @ b
    return 10 * 2 * SIDE**3 / (time.perf_counter() - began) / 1e9


def gigabytes_per_second() -> float:
    """Of copying 256 MB, read and written."""
    source = torch.rand(64 * 2**20)
    target = source.clone()
    began = time.perf_counter()
    for _ in range(5):
        target.copy_(source)
    return 5 * 2 * source.numel() * 4 / (time.perf_counter() - began) / 1e9


@torch.inference_mode()
def main() -> None:
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=2)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    network = read_network(embedded("default.safetensors"))[0]
    machine = {"gflops": gflops(), "gb_per_s": gigabytes_per_second()}
    rows, total = [], 0.0
    for name, graph in {**detection_graphs(), **hand_graphs(network)}.items():
        inputs = graph.eval().example(1)
        with FlopCounterMode(display=False) as counter:
            graph(*inputs)
        mflop = counter.get_total_flops() / 1e6
        total += RUNS[name] * mflop
        rows.append(
            {"graph": name, "mflop": mflop, "runs": RUNS[name], "floor_ms": RUNS[name] * mflop / machine["gflops"]}
        )
    rows.append({"graph": "one hand", "mflop": total, "runs": 1, "floor_ms": total / machine["gflops"]})
    for row in rows:
        print("{graph:10} {mflop:8.0f} MFLOP x {runs}  at least {floor_ms:6.2f} ms".format(**row))
    keep("floor", {"graphs": rows, "threads": asked.threads, **machine}, asked.save, "python benchmarks/floor.py")


if __name__ == "__main__":
    main()
