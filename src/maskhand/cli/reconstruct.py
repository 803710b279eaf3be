"""`maskhand reconstruct`: photos, folders and globs in; overlays, meshes and one JSON a photo out."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskhand.config import DEFAULT_STEPS
from maskhand.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from maskhand.io.photos import Photo
    from maskhand.predictor import Predictor
    from maskhand.types import Hand, Side


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
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Photos, folders of photos, or quoted globs.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if absent.")],
    steps: Annotated[int, typer.Option(help="Rounds of unmasking: 1 is fastest, 5 the paper's choice.")] = DEFAULT_STEPS,
    side: Annotated[SideChoice, typer.Option(help="Say which hand it is, if you know.")] = SideChoice.auto,
    boxes: Annotated[
        Path | None,
        typer.Option(help='JSON with boxes, skipping detection: {"photo.jpg": [[x1, y1, x2, y2], ...]} in pixels.'),
    ] = None,
    focal: Annotated[float | None, typer.Option(help="Focal length in pixels, if known; sets the depth.")] = None,
    format_: Annotated[MeshFormat, typer.Option("--format", help="Mesh files, one per hand.")] = MeshFormat.glb,
    model: Annotated[str, typer.Option(help="`default`, `large`, or the path of a .safetensors file.")] = "default",
    refine: Annotated[bool, typer.Option(help="Nudge poses towards the measured 2D keypoints.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
) -> None:
    """Reconstruct the hands of photos.

    For each photo NAME the folder gets NAME.png (photo, overlay, another view), NAME.json (joints, pose, confidence) and
    NAME_0.glb, NAME_1.glb, ... A photo that cannot be read is reported at the end and stops nothing else.

    Examples:
        maskhand reconstruct holiday.jpg -o out

        maskhand reconstruct photos/ "more/*.png" -o out --format obj

    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    paths = [path for path in find_photos(inputs) if not is_result(path)]
    if not paths:
        raise InputError(f"the only photos of {', '.join(inputs)} are results of an earlier run")
    given = read_boxes(boxes) if boxes else None
    (name, count), *_ = Counter(path.name for path in paths).most_common(1)
    if given is not None and count > 1:
        raise InputError(f"{count} photos are called {name}, and --boxes goes by names: reconstruct their folders one by one")
    names = output_names(paths)
    refuse_to_overwrite(out, names)
    from maskhand.assets import load
    from maskhand.io.files import made_folder

    out = made_folder(out)
    predictor = load(model, device=device, refine=refine)
    hands_total, empty, failed = 0, [], []
    columns = (
        TextColumn("reconstructing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(paths))
        for path, name in zip(paths, names, strict=True):
            bar.update(task, description=escape(path.name))
            try:
                count = reconstruct_one(
                    predictor, path, out, name, steps=steps, side=side, boxes=given, focal=focal, mesh=format_.value
                )
            except (InputError, OSError) as problem:
                told = problem if isinstance(problem, InputError) else InputError(f"it could not be read or written: {problem}")
                if len(paths) == 1:
                    raise told from problem
                failed.append((path, str(told)))  # the error itself would keep the photo in memory
            else:
                hands_total += count
                if not count:
                    empty.append(path)
            bar.advance(task)
    done = len(paths) - len(failed)
    console.print(f"{hands_total} hand{'s' * (hands_total != 1)} in {done} photo{'s' * (done != 1)} -> {escape(str(out))}")
    if empty:
        console.print(f"no hand found in {len(empty)}: {escape(', '.join(p.name for p in empty[:5]))}{' ...' * (len(empty) > 5)}")
    unread = [file for text in inputs if Path(text).is_dir() for file in Path(text).rglob("*") if is_unread(file)]
    if unread:
        console.print(f"{len(unread)} left out, {escape(unread[0].name)} first: save {unread[0].suffix} as JPEG or PNG first")
    for path, why in failed:
        console.print(f"[red]skipped[/red] {escape(f'{path}: {why}')}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def reconstruct_one(
    predictor: Predictor,
    path: Path,
    out: Path,
    name: str,
    *,
    steps: int,
    side: SideChoice,
    boxes: dict[str, list] | None,
    focal: float | None,
    mesh: str,
) -> int:
    """Write everything about one photo, its record last; returns the number of hands."""
    from maskhand.io.photos import read_photo
    from maskhand.rendering.overlay import draw_result

    if boxes is not None and path.name not in boxes:
        raise InputError(f"the boxes file has no entry for {path.name}")
    photo = read_photo(path, focal_px=focal)
    known: Side | None = None
    if side is not SideChoice.auto:
        known = "left" if side is SideChoice.left else "right"
    if boxes is None:
        hands = predictor.from_photo(photo, steps=steps, side=known)
    else:
        listed = boxes[path.name]
        if not isinstance(listed, list):
            raise InputError(f"the boxes of {path.name} are {listed!r}; expected a list of [x1, y1, x2, y2]")
        hands = predictor.from_boxes(photo, listed, [known] * len(listed) if known else None, steps=steps)
    write_result(out, name, path, photo, hands, draw_result(photo.pixels, hands), steps=steps, mesh=mesh)
    return len(hands)


def write_result(
    out: Path, name: str, path: Path, photo: Photo, hands: list[Hand], picture: np.ndarray, *, steps: int, mesh: str
) -> None:
    """Meshes, picture and record of hands; meshes of an earlier run that this one lacks go.

    The record comes first, as NAME.json.part, so that a run that was stopped knows its files again, and takes its name last.
    """
    import json

    from maskhand.io.record import result_record
    from maskhand.io.files import written_picture

    meshes = [f"{name}_{k}.{mesh}" if mesh != "none" else "" for k in range(len(hands))]
    stale = recorded_files(out, name) - {*meshes, f"{name}.png", f"{name}.json"}
    record, part = out / f"{name}.json", out / f"{name}.json.part"
    part.write_text(json.dumps(result_record(path.name, photo.pixels, hands, meshes, steps=steps), indent=1) + "\n")
    for hand, file in zip(hands, meshes, strict=True):
        if file:
            hand.export(out / file)
    written_picture(out / f"{name}.png", picture)
    for file in stale:
        (out / file).unlink(missing_ok=True)
    part.replace(record)


def find_photos(inputs: list[str]) -> list[Path]:
    """Files, folders' photos and globs' matches, each once, in order."""
    import glob

    from maskhand.io.photos import PHOTO_SUFFIXES

    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and p.is_file())
            if not inside:
                raise InputError(f"folder {text} holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            matches = sorted(Path(m) for m in glob.glob(text, recursive=True))  # noqa: PTH207 (absolute patterns too)
            if not matches:
                raise InputError(f"image {text} does not exist")
            files = [m for m in matches if m.is_file()]
            if not files:
                raise InputError(f"{text} matches folders only; name a folder itself, or its photos: {text}/*.jpg")
            found += files
    return list(dict.fromkeys(found))


def is_result(path: Path) -> bool:
    """Whether a picture is one that an earlier run made: its record lies beside it."""
    return path.suffix == ".png" and path.name in recorded_files(path.parent, path.stem)


def is_unread(path: Path) -> bool:
    """Whether a file is a photo of a kind that cannot be read."""
    from maskhand.io.photos import UNREAD_SUFFIXES

    return path.suffix.lower() in UNREAD_SUFFIXES


def refuse_to_overwrite(out: Path, names: list[str]) -> None:
    """Earlier results may be written over, nothing else.

    Raises:
        InputError: a picture, mesh or JSON of that name is somebody's own.

    """
    import re
    from collections import defaultdict

    written = re.compile(r"(.+)(?:\.json|\.png|_\d+\.(?:glb|obj|ply))", re.DOTALL)
    present: dict[str, list[str]] = defaultdict(list)
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        if result := written.fullmatch(path.name):
            present[result[1]].append(path.name)
    for name in names:
        ours = recorded_files(out, name)
        foreign = [file for file in present[name] if file not in ours]
        if foreign:
            raise InputError(
                f"{out / foreign[0]} is no result of maskhand and would be written over; name another folder with -o"
            )


def recorded_files(folder: Path, name: str) -> set[str]:
    """What earlier runs wrote for a photo, by their records, one that was stopped by its NAME.json.part; nothing without them."""
    files: set[str] = set()
    for record in (folder / f"{name}.json", folder / f"{name}.json.part"):
        hands = _hands(record)
        if hands is not None:
            named = {hand.get("mesh") for hand in hands if isinstance(hand, dict)}
            meshes = {m for m in named if isinstance(m, str) and m == Path(m).name and m.startswith(f"{name}_")}
            files |= {f"{name}.json", f"{name}.png", *meshes}
    return files


def _hands(record: Path) -> list | None:
    """What a record lists; None if the file is none of ours."""
    import json

    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(content, dict) and "maskhand" in content and isinstance(content.get("hands"), list)
    return content["hands"] if ours else None


def output_names(paths: list[Path]) -> list[str]:
    """A name per photo, its stem; photos that share one keep their suffix, and a number if even that is shared.

    Names that differ in case alone, or in how an accent is written, are shared: many file systems take them for one.
    """
    import unicodedata

    def folded(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    shared = Counter(folded(path.stem) for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = path.stem if shared[folded(path.stem)] == 1 else path.name.replace(".", "_")
        serial, unique = 1, name
        while folded(unique) in taken:
            serial += 1
            unique = f"{name}_{serial}"
        names.append(unique)
        taken.add(folded(unique))
    return names


def read_boxes(path: Path) -> dict[str, list]:
    """{photo name: [[x1, y1, x2, y2], ...]} from a JSON file."""
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"boxes file {path} does not exist") from None
    except (ValueError, OSError) as error:
        raise InputError(f"boxes file {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f'boxes file {path} holds a {type(content).__name__}; expected {{"photo.jpg": [[x1, y1, x2, y2]]}}')
    return content
