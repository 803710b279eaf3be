"""A benchmark's report in Markdown and JSON: our row beside the published ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from maskhand.evaluation.benchmark import UNKNOWN, Report
from maskhand.evaluation.protocols import HINT_MASKED, published
from maskhand.io.files import made_folder


def write_report(report: Report, folder: str | Path) -> tuple[Path, Path]:
    """report.md and report.json in a folder."""
    folder = made_folder(folder)
    (folder / "report.md").write_text(as_markdown(report), encoding="utf-8")
    content: dict[str, Any] = {
        "benchmark": report.protocol.name,
        "split": report.split,
        "system": report.system,
        "hand_model": report.hand_model,
        "samples": report.count,
        "date": date.today().isoformat(),
        "figures": {key: {"value": f.value, "low": f.low, "high": f.high} for key, f in report.figures.items()},
        "mask_share": report.mask_share,
        "notes": report.notes,
    }
    (folder / "report.json").write_text(json.dumps(content, indent=1))
    return folder / "report.md", folder / "report.json"


def as_markdown(report: Report) -> str:
    """Our row beside the published ones."""
    protocol = report.protocol
    lines = [
        f"# {protocol.title} {report.split}: {report.system}",
        "",
        f"{report.count} samples, hand model: {report.hand_model}, {date.today().isoformat()}. "
        "Millimetres, shares, or per cent "
        "(PCK); 95 % intervals by resampling the samples.",
        *([f"{report.mask_share:.0%} of the hand masked."] if report.mask_share else []),
        "",
        "| measure | value | 95 % |",
        "|---|---|---|",
        *(
            f"| {key} | {_number(f.value)} | {_number(f.low)} to {_number(f.high)} |"
            for key, f in report.figures.items()
        ),
    ]
    rows = _published_rows(report)
    if rows:
        columns, table = rows
        lines += ["", f"| system | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *table]
        if report.hand_model not in ("mano", UNKNOWN):
            lines += ["", "Not comparable: our row is of another hand model than MANO, which every published row uses."]
    return "\n".join([*lines, "", *(f"- {note}" for note in report.notes), ""])


def _published_rows(report: Report) -> tuple[Sequence[str], list[str]] | None:
    columns: Sequence[str] = report.protocol.columns
    rows: dict[str, tuple[float | None, ...]] = dict(published(report.protocol, report.split))
    if report.mask_share and report.protocol.name != "hint":
        return None  # nobody published masked figures of it
    if report.mask_share:
        columns = [c for c in columns if c.endswith("occluded")]
        rows = dict(HINT_MASKED.get((report.split, round(100 * report.mask_share)), {}))
    if not rows:
        return None
    own = [report.figures.get(column) for column in columns]
    rows = {**rows, f"**{report.system}**": tuple(None if f is None else f.value for f in own)}
    return columns, [f"| {name} | {' | '.join(_number(v) for v in values)} |" for name, values in rows.items()]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
