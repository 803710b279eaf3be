"""`maskhand demo`: the main job on a picture that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskhand.config import DEFAULT_STEPS


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")] = Path("maskhand-demo"),
    steps: Annotated[int, typer.Option(help="Rounds of unmasking.")] = DEFAULT_STEPS,
) -> None:
    """Reconstruct the hands of the picture that comes with the package; needs no download."""
    from rich.console import Console

    from maskhand.assets import embedded, load
    from maskhand.cli.reconstruct import SideChoice, reconstruct_one
    from maskhand.io.files import made_folder
    from maskhand.io.results import refuse_to_overwrite

    console = Console(stderr=True)
    refuse_to_overwrite(out, ["demo"])
    out = made_folder(out)
    with console.status("finding and reconstructing hands"):
        count = reconstruct_one(
            load(),
            embedded("demo.jpg"),
            out,
            "demo",
            steps=steps,
            side=SideChoice.auto,
            boxes=None,
            focal=None,
            mesh="glb",
        )
    console.print(f"{count} hand{'s' * (count != 1)} found. Look at [bold]{out / 'demo.png'}[/bold];")
    console.print(f"the mesh is {out / 'demo_0.glb'}, everything as numbers {out / 'demo.json'}.")
    console.print("Now your own: [bold]maskhand reconstruct photo.jpg -o out[/bold]")
