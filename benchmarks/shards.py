"""`maskhand data prepare synthetic` in a process of its own: throughput, and the peak memory of all its processes.

python benchmarks/shards.py [--count 10000] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "maskhand.cli.main", "data", "prepare", "synthetic", "-o", folder]
        command += ["--count", str(options.count), "--workers", str(options.workers), "--rows", "500"]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{options.count} samples, {options.workers} workers: {seconds:.0f} s, {options.count / seconds:.0f} a second"
    )
    print(f"largest process {usage.ru_maxrss / 1024:.0f} MB, {size / options.count / 1024:.1f} kB a sample on disk")


if __name__ == "__main__":
    main()
