"""What the benchmarks share: medians, and results shown and kept."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskhand.evaluation.results import save_result


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Of a benchmark whose results can be kept."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--save", type=Path, help="folder to keep the results in, such as results/VERSION")
    return made


def median_ms(run: Callable[[], object], times: int = 40, warm: int = 3) -> float:
    """Of single calls."""
    for _ in range(warm):
        run()
    values = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        values.append(1000 * (time.perf_counter() - began))
    return statistics.median(values)


def keep(name: str, result: Any, folder: Path | None, command: str) -> None:
    """Show numbers, and save them with version, date, machine and command."""
    if isinstance(result, dict):
        for key, value in result.items():
            if isinstance(value, float):
                print(f"{key:36} {value:9.2f}")
    if folder is not None:
        print("->", save_result(folder, name, result, command))
