"""Results of commands: saved as JSON, printed as JSON or as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer


def finish(title: str, name: str, values: Mapping[str, float | None], as_json: bool, save: Path | None) -> None:
    """Save and show named numbers."""
    import json

    from maskhand.evaluation.results import save_result

    if save is not None:
        typer.echo(f"-> {save_result(save, name, dict(values))}", err=True)
    if as_json:
        typer.echo(json.dumps({key: None if value is None else round(value, 4) for key, value in values.items()}))
        return
    rows = [{"measure": key, "value": value} for key, value in values.items()]
    _table(title, rows)


def finish_rows(title: str, name: str, rows: list[dict[str, Any]], as_json: bool, save: Path | None) -> None:
    """Save and show a table."""
    import json

    from maskhand.evaluation.results import save_result

    if save is not None:
        typer.echo(f"-> {save_result(save, name, rows)}", err=True)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    _table(title, rows)


def _table(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    def text(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.3f}" if isinstance(value, float) else escape(str(value))

    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column.replace("_", " "), justify="right" if isinstance(rows[0][column], float) else "left")
    for row in rows:
        table.add_row(*(text(value) for value in row.values()))
    Console().print(table)
