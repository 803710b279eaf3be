"""`maskhand demo`: the main job on a picture that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskhand.cli.reconstruct import Threads
from maskhand.config import DEFAULT_STEPS


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")] = Path("maskhand-demo"),
    steps: Annotated[int, typer.Option(help="Rounds of unmasking.")] = DEFAULT_STEPS,
    threads: Threads = None,
) -> None:
    """Reconstruct the hands of the picture that comes with the package; needs no download."""
    from rich.console import Console

    from maskhand.assets import embedded, load
    from maskhand.cli.photo_run import PhotoRun
    from maskhand.io.files import made_folder
    from maskhand.io.results import refuse_to_overwrite

    console = Console(stderr=True)
    refuse_to_overwrite(out, ["demo"])
    out = made_folder(out)
    with console.status("finding and reconstructing hands"):
        run, photo = PhotoRun(load(threads=threads), out, steps), embedded("demo.jpg")
        read = run.read(photo)
        count = run.write(photo, "demo", read, run.predictor(read, steps=steps))
    console.print(f"{count} hand{'s' * (count != 1)} found. Look at [bold]{out / 'demo.png'}[/bold];")
    console.print(f"the mesh is {out / 'demo_0.glb'}, everything as numbers {out / 'demo.json'}.")
    console.print("Now your own: [bold]maskhand reconstruct photo.jpg -o out[/bold]")
