"""Photos to read and result files to write: names, records, what may be written over."""

from __future__ import annotations

import glob
import json
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from maskhand.errors import InputError
from maskhand.io.files import written_picture
from maskhand.io.photos import PHOTO_SUFFIXES, UNREAD_SUFFIXES, Photo
from maskhand.io.record import result_record
from maskhand.types import Hand


def write_result(
    out: Path, name: str, path: Path, photo: Photo, hands: list[Hand], picture: np.ndarray, *, steps: int, mesh: str
) -> None:
    """Meshes, picture and record of hands; meshes of an earlier run that this one lacks go.

    The record comes first, as NAME.json.part, so that a run that was stopped knows its files again, and takes its name
    last.
    """
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
    return path.suffix.lower() in UNREAD_SUFFIXES


def refuse_to_overwrite(out: Path, names: list[str]) -> None:
    """Earlier results may be written over, nothing else.

    Raises:
        InputError: a picture, mesh or JSON of that name is somebody's own.

    """
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
    """Files that earlier runs wrote for a photo, by their records; that of a stopped run is NAME.json.part."""
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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"boxes file {path} does not exist") from None
    except (ValueError, OSError) as error:
        raise InputError(f"boxes file {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(
            f'boxes file {path} holds a {type(content).__name__}; expected {{"photo.jpg": [[x1, y1, x2, y2]]}}'
        )
    return content
