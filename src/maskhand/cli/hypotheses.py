"""`maskhand hypotheses`: what else the hands of a photo may be, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskhand.cli.reconstruct import MeshFormat, Threads
from maskhand.config import DRAWING_STEPS


def hypotheses(
    photo: Annotated[Path, typer.Argument(help="The photo.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if absent.")],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many per hand.")] = 16,
    steps: Annotated[int, typer.Option(min=1, max=64, help="Rounds of unmasking.")] = DRAWING_STEPS,
    seed: Annotated[int, typer.Option(min=0, help="Which are drawn.")] = 0,
    format_: Annotated[MeshFormat, typer.Option("--format", help="Mesh files, one per hypothesis.")] = MeshFormat.none,
    model: Annotated[str, typer.Option(help="`default`, `large`, or the path of a .safetensors file.")] = "default",
    refine: Annotated[bool, typer.Option(help="Nudge poses towards the measured 2D keypoints.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    threads: Threads = None,
) -> None:
    """Draw other poses that the hands of a photo may have, likeliest first: where fingers are hidden, one pose says
    too much.

    For each hand K of photo NAME the folder gets NAME_hand_K.png (some of them, on the photo and from another side) and
    NAME_hand_K.json, whose hands are the hypotheses; meshes with --format.

    Examples:
        maskhand hypotheses photo.jpg -o out --count 100

    """
    from rich.console import Console
    from rich.markup import escape

    from maskhand.assets import load
    from maskhand.io.files import made_folder
    from maskhand.io.photos import read_photo
    from maskhand.io.results import refuse_to_overwrite, write_result
    from maskhand.rendering.overlay import draw_hypotheses

    console = Console(stderr=True)
    read = read_photo(photo)
    predictor = load(model, device=device, threads=threads, refine=refine)
    with console.status("finding hands"):
        hands = predictor(read)
    names = [f"{photo.stem}_hand_{k}" for k in range(len(hands))]
    refuse_to_overwrite(out, names)
    out = made_folder(out)
    for hand, name in zip(hands, names, strict=True):
        with console.status(f"drawing poses of the {hand.side} hand"):
            drawn = predictor.hypotheses(read, hand, count, steps=steps, seed=seed)
        write_result(
            out, name, photo, read, drawn, draw_hypotheses(read.pixels, drawn), steps=steps, mesh=format_.value
        )
        console.print(f"{hand.side} hand: {count} hypotheses -> {escape(str(out / name))}.png", soft_wrap=True)
    if not hands:
        console.print(f"no hand found in {escape(photo.name)}")
