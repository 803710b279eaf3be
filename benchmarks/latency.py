"""One hand, detection included, turn by turn with MediaPipe Hands on the same photos; alone, and beside busy processes.

python benchmarks/latency.py PHOTOS --mediapipe PYTHON [--rounds 5] [--save results/VERSION]

PYTHON: an interpreter of an environment with mediapipe==0.10.21; without it MediaPipe is left out.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import keep, parser

from maskhand import load
from maskhand.io.results import find_photos

WORKER = str(Path(__file__).with_name("worker.py"))
OURS = {"onnx_t1": ("onnx", "1"), "onnx_t5": ("onnx", "5")}
TORCH = {"torch_t1": ("torch", "1")}
THEIRS = {"mediapipe_static": ("mediapipe", "static"), "mediapipe_video": ("mediapipe", "video")}


class Worker:
    """A tool in its own process."""

    def __init__(self, python: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [python, WORKER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip

    def ask(self, path: Path) -> None:
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()

    def answer(self) -> float:
        assert self.process.stdout is not None  # noqa: S101
        return float(self.process.stdout.readline())

    def milliseconds(self, path: Path) -> float:
        self.ask(path)
        return self.answer()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos")
    options.add_argument("--mediapipe", metavar="PYTHON")
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    photos = find_photos([asked.photos])
    workers = {name: Worker(sys.executable, *how) for name, how in OURS.items()}
    if asked.mediapipe:
        workers |= {name: Worker(asked.mediapipe, *how) for name, how in THEIRS.items()}
    result: dict[str, float] = {}
    times = turn_by_turn(workers, photos, asked.rounds)
    by_torch = {name: Worker(sys.executable, *how) for name, how in TORCH.items()}
    times |= turn_by_turn(by_torch, photos, asked.rounds)  # apart: its threads spin on, and would slow the next tool
    for name, values in times.items():
        result |= {f"{name}_ms": statistics.median(values), f"{name}_worst_ms": max(values)}
    if asked.mediapipe:
        result["onnx_over_mediapipe"] = result["onnx_t1_ms"] / result["mediapipe_static_ms"]
    result["t5_over_t1"] = result["onnx_t5_ms"] / result["onnx_t1_ms"]
    ours = workers["onnx_t1"]
    for name in [*workers]:
        if name != "onnx_t1":
            workers.pop(name).process.kill()
    by_torch["torch_t1"].process.kill()
    for count in (1, 2):
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        time.sleep(1)
        values = [ours.milliseconds(photo) for _ in range(asked.rounds) for photo in photos]
        for process in busy:
            process.kill()
        result[f"beside_{count}_busy_over_alone"] = statistics.median(values) / result["onnx_t1_ms"]
        result[f"beside_{count}_busy_worst_over_alone"] = max(values) / result["onnx_t1_worst_ms"]
    pair, both = [ours, Worker(sys.executable, *OURS["onnx_t1"])], []
    for photo in photos * (asked.rounds + 1):  # the first round warms the second one up
        for worker in pair:
            worker.ask(photo)
        both.append([worker.answer() for worker in pair])
    together = statistics.median(ms for pair_ms in both[len(photos) :] for ms in pair_ms)
    result["two_of_ours_over_one"] = together / result["onnx_t1_ms"]
    for worker in pair:
        worker.process.kill()
    result |= hypotheses(photos[0])
    keep("latency", result, asked.save, "python benchmarks/latency.py PHOTOS --mediapipe PYTHON")


def hypotheses(photo: Path) -> dict[str, float]:
    """What 100 hypotheses take, in ms and beside one hand."""
    predictor = load()
    (hand, *_) = predictor(photo)
    predictor.hypotheses(photo, hand, 4)
    one, many = [], []
    for _ in range(5):
        began = time.perf_counter()
        predictor(photo)
        middle = time.perf_counter()
        predictor.hypotheses(photo, hand, 100)
        one.append(middle - began)
        many.append(time.perf_counter() - middle)
    took = statistics.median(many)
    return {"hypotheses_100_ms": 1000 * took, "hypotheses_100_over_one": took / statistics.median(one)}


def turn_by_turn(workers: dict[str, Worker], photos: list[Path], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each worker on each photo, one after the other, so that all meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for photo in photos:
            for name, worker in workers.items():
                times[name].append(worker.milliseconds(photo))
    return times


if __name__ == "__main__":
    main()
