"""`maskhand detect`: where hands are in photos; `maskhand evaluate detection`: how well they are found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskhand.cli.output import finish_rows

Weights = Annotated[str, typer.Option("--detector", help="`default`, or weights of `maskhand train detector`.")]


def detect(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Photos, folders of photos, or quoted globs.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results; made if absent.")],
    detector: Weights = "default",
) -> None:
    """Boxes, sides and scores of the hands in photos, without reconstructing them.

    The folder gets detections.json ({photo: [{box, score, right}, ...]}, pixels) and a picture NAME_boxes.png for each
    photo.
    """
    import json

    from maskhand.assets import detector_of
    from maskhand.cli.progress import track
    from maskhand.errors import InputError
    from maskhand.io.files import made_folder, written_picture
    from maskhand.io.photos import read_photo
    from maskhand.io.results import find_photos, output_names
    from maskhand.rendering.overlay import with_boxes

    paths = find_photos(inputs)
    names = output_names(paths)
    found, folder = detector_of(detector), made_folder(out)
    results, failed = {}, []
    with track("photos", len(paths)) as advance:
        for path, name in zip(paths, names, strict=True):
            try:
                pixels = read_photo(path).pixels
                hands = sorted(found.detect(pixels), key=lambda hand: -hand.score)
                results[str(path)] = [
                    {
                        "box": [round(float(x), 1) for x in hand.box],
                        "score": round(hand.score, 4),
                        "right": round(hand.right, 4),
                    }
                    for hand in hands
                ]
                written_picture(folder / f"{name}_boxes.png", with_boxes(pixels, hands))
            except InputError as error:
                failed.append(str(error))
            advance()
    (folder / "detections.json").write_text(json.dumps(results, indent=1))
    count = sum(map(len, results.values()))
    typer.echo(f"{count} hand{'s' * (count != 1)} in {len(results)} photo{'s' * (len(results) != 1)} -> {folder}")
    for line in failed:
        typer.echo(line, err=True)
    if failed:
        raise typer.Exit(1)


def evaluate(
    root: Annotated[
        Path, typer.Argument(help="Folder of photos with boxes of all their hands: COCO, YOLO or boxes.json.")
    ],
    detector: Weights = "default",
    boxes: Annotated[
        Path | None, typer.Option(help="A boxes.json that lies elsewhere, such as configs/boxes/held_out.json.")
    ] = None,
    pattern: Annotated[str, typer.Option(help="Photos whose paths in the folder match, such as 'VID_*'.")] = "*",
    reconstructed: Annotated[
        bool, typer.Option("--reconstructed", help="Count what `maskhand reconstruct` gives, after selection.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Folder to save the result in as JSON, with version, date and machine.")
    ] = None,
) -> None:
    """How many hands are found: recall, precision, average precision and sides, by kind and size."""
    from fnmatch import fnmatch

    from maskhand.assets import detector_of, load
    from maskhand.cli.progress import track
    from maskhand.data.box_files import boxed_photos
    from maskhand.evaluation.detection import detection_rows, reconstructed_by

    found = detector_of(detector)
    detect_in = reconstructed_by(load(detector=found)) if reconstructed else found.detect
    photos = [photo for photo in boxed_photos(root, boxes) if fnmatch(str(photo.path.relative_to(root)), pattern)]
    with track("photos", len(photos)) as advance:
        rows = detection_rows(detect_in, photos, advance)
    name = f"detection-{root.resolve().name}-{Path(detector).stem}" + "-reconstructed" * reconstructed
    finish_rows(f"hands found by {detector} in {len(photos)} photos", name, rows, json_, save)
