"""Peak memory of `maskhand demo`, the time of `maskhand --help`, the size of what is shipped.

python benchmarks/footprint.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

COMMAND = [sys.executable, "-m", "maskhand.cli.main"]


def main() -> None:
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([*COMMAND, "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*COMMAND, "demo", "-o", folder], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    weights = sum(
        Path(str(p)).stat().st_size
        for p in (files("maskhand") / "assets").iterdir()
        if p.name.endswith((".safetensors", ".npz"))
    )
    print(f"maskhand --help          {statistics.median(times[1:]):8.2f} s (median of {len(times) - 1}, warm)")
    print(f"peak memory of the demo  {peak:8.0f} MB (detection, reconstruction of two hands, picture, meshes)")
    print(f"weights                  {weights / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
