"""What an installation costs: a fresh environment's size, commands from cold, peak memory, size of the weights.

python benchmarks/footprint.py PHOTO [--save results/VERSION]    # in the repository's root
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from measure import keep, parser

RUNS = 7


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory [MB] of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photo")
    asked = options.parse_args()
    weights = [p for p in (files("maskhand") / "assets").iterdir() if p.name.endswith((".safetensors", ".npz"))]
    result: dict[str, float] = {"weights_mb": sum(Path(str(p)).stat().st_size for p in weights) / 1e6}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        subprocess.run([f"{folder}/venv/bin/python", "-m", "pip", "install", "--quiet", "."], check=True)
        packages = next(Path(folder, "venv", "lib").glob("python*/site-packages"))
        result["site_packages_mb"] = sum(p.stat().st_size for p in packages.rglob("*") if p.is_file()) / 2**20
        command, out = f"{folder}/venv/bin/maskhand", f"{folder}/out"
        for name, arguments in (
            ("help", ["--help"]),
            ("reconstruct", ["reconstruct", asked.photo, "-o", out]),
            ("demo", ["demo", "-o", f"{folder}/demo"]),
        ):
            runs = [measured([command, *arguments]) for _ in range(RUNS)][1:]  # the first writes Python's bytecode
            result[f"{name}_s"] = statistics.median(seconds for seconds, _ in runs)
            result[f"{name}_peak_mb"] = max(peak for _, peak in runs)
        _, peak = measured([command, "hypotheses", asked.photo, "-o", f"{folder}/many", "--count", "1000"])
        result["hypotheses_1000_peak_mb"] = peak
    keep("footprint", result, asked.save, "python benchmarks/footprint.py PHOTO")


if __name__ == "__main__":
    main()
