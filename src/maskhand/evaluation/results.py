"""Measured results as JSON, one file a command, from which the tables of README and model card are made."""

from __future__ import annotations

import datetime
import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

from maskhand.io.files import made_folder
from maskhand.version import __version__


def save_result(folder: str | Path, name: str, result: Any, command: str | None = None) -> Path:
    """Write {folder}/{name}.json: the result with version, date, machine and the command that measured it, this
    process's if left out.
    """
    content = {
        "name": name,
        "version": __version__,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "command": command or " ".join(["maskhand", *sys.argv[1:]]),
        "result": rounded(result),
    }
    path = made_folder(folder) / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def rounded(value: Any) -> Any:
    """Floats to six digits, NaN to None, in nested lists and dicts."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def machine() -> str:
    """Processor, cores and Python, in a line."""
    import os

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{os.cpu_count()} cores of {name}, Python {platform.python_version()}"
