"""`maskhand reconstruct`: photos, folders and globs in; overlays, meshes and one JSON a photo out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskhand.config import DEFAULT_STEPS
from maskhand.errors import InputError, MaskHandError

if TYPE_CHECKING:
    from rich.console import Console

    from maskhand.cli.photo_run import PhotoRun
    from maskhand.types import Side

Threads = Annotated[
    int | None, typer.Option(min=1, max=256, help="Threads of the networks; as many as cores, at most 4, if left out.")
]


class MeshFormat(StrEnum):
    """Mesh files."""

    glb = "glb"
    obj = "obj"
    ply = "ply"
    none = "none"


class SideChoice(StrEnum):
    """Sides."""

    auto = "auto"
    left = "left"
    right = "right"


def reconstruct(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Photos, folders of photos, or quoted globs.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if absent.")],
    steps: Annotated[
        int, typer.Option(help="Rounds of unmasking: 1 is fastest, 5 the paper's choice.")
    ] = DEFAULT_STEPS,
    side: Annotated[SideChoice, typer.Option(help="Say which hand it is, if you know.")] = SideChoice.auto,
    boxes: Annotated[
        Path | None,
        typer.Option(help='JSON with boxes, skipping detection: {"photo.jpg": [[x1, y1, x2, y2], ...]} in pixels.'),
    ] = None,
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels, if known; sets the depth.")] = None,
    format_: Annotated[MeshFormat, typer.Option("--format", help="Mesh files, one per hand.")] = MeshFormat.glb,
    model: Annotated[str, typer.Option(help="`default`, `large`, or the path of a .safetensors file.")] = "default",
    refine: Annotated[bool, typer.Option(help="Fit poses to the measured 2D keypoints.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    threads: Threads = None,
) -> None:
    """Reconstruct the hands of photos.

    For each photo NAME the folder gets NAME.png (photo, overlay, another view), NAME.json (joints, pose, confidence)
    and NAME_0.glb, NAME_1.glb, ... A photo that cannot be read is reported at the end and stops nothing else.

    Examples:
        maskhand reconstruct holiday.jpg -o out

        maskhand reconstruct photos/ "more/*.png" -o out --format obj

    """
    from rich.console import Console

    from maskhand.assets import load
    from maskhand.cli.photo_run import PhotoRun
    from maskhand.io.files import made_folder
    from maskhand.io.results import find_photos, is_result, output_names, refuse_to_overwrite

    paths = [path for path in find_photos(inputs) if not is_result(path)]
    if not paths:
        raise InputError(f"the only photos of {', '.join(inputs)} are results of an earlier run")
    given = _boxes_of(paths, boxes) if boxes else None
    names = output_names(paths)
    refuse_to_overwrite(out, names)
    run = PhotoRun(
        predictor=load(model, device=device, threads=threads, refine=refine),
        out=made_folder(out),
        steps=steps,
        side=known_side(side),
        boxes=given,
        focal_px=focal,
        mesh=format_.value,
    )
    console = Console(stderr=True)
    summary = _reconstruct_all(run, paths, names, console)
    summary.show(console, out, inputs)
    if summary.failed:
        raise typer.Exit(1)


def _boxes_of(paths: list[Path], file: Path) -> dict[str, list]:
    """What a JSON file says of photos whose names differ."""
    from maskhand.io.results import read_boxes

    boxes = read_boxes(file)
    (name, count), *_ = Counter(path.name for path in paths).most_common(1)
    if count > 1:
        raise InputError(
            f"{count} photos are called {name}, and --boxes goes by names: reconstruct their folders one by one"
        )
    return boxes


@dataclass
class _Summary:
    """What became of the photos."""

    hands: int = 0
    done: int = 0
    empty: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)

    def show(self, console: Console, out: Path, inputs: list[str]) -> None:
        from rich.markup import escape

        from maskhand.io.results import is_unread

        hands, done, empty = self.hands, self.done, self.empty
        console.print(f"{hands} hand{'s' * (hands != 1)} in {done} photo{'s' * (done != 1)} -> {escape(str(out))}")
        if empty:
            names = escape(", ".join(p.name for p in empty[:5]))
            console.print(f"no hand found in {len(empty)}: {names}{' ...' * (len(empty) > 5)}")
        unread = [file for text in inputs if Path(text).is_dir() for file in Path(text).rglob("*") if is_unread(file)]
        if unread:
            console.print(
                f"{len(unread)} left out, {escape(unread[0].name)} first: save {unread[0].suffix} as JPEG or PNG first"
            )
        for path, why in self.failed:
            console.print(f"[red]skipped[/red] {escape(f'{path}: {why}')}", highlight=False, soft_wrap=True)


def _reconstruct_all(run: PhotoRun, paths: list[Path], names: list[str], console: Console) -> _Summary:
    """Every photo, with a progress bar; of several, one that cannot be read or written stops no other."""
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from maskhand.cli.photo_run import run_photos

    summary = _Summary()
    name_column = TextColumn("{task.description}")
    columns = (TextColumn("reconstructing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), name_column)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(paths[0].name), total=len(paths))
        for path, outcome in run_photos(run, list(zip(paths, names, strict=True))):
            bar.update(task, description=escape(path.name), advance=1)
            if isinstance(outcome, Exception):
                if isinstance(outcome, OSError):
                    outcome = InputError(f"it could not be read or written: {outcome}")
                if len(paths) == 1:
                    raise outcome
                known = isinstance(outcome, MaskHandError)
                summary.failed.append((path, str(outcome) if known else f"{type(outcome).__name__}: {outcome}"))
                continue
            summary.done += 1
            summary.hands += outcome
            if not outcome:
                summary.empty.append(path)
    return summary


def known_side(choice: SideChoice) -> Side | None:
    """What was said about the side; None for auto."""
    return None if choice is SideChoice.auto else choice.value  # type: ignore[return-value]
