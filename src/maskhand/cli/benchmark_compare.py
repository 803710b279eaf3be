"""`maskhand evaluate compare|pose2d`: two systems on one benchmark, and how much the 2D pose matters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskhand.cli.benchmark import HandModelFile, Limit, Refine, Root, Split, Steps, Weights, few, run_model, show_rows


def compare(
    benchmark: Annotated[str, typer.Argument(help="freihand, ho3dv2, ho3dv3, dexycb or hint.")],
    root: Root,
    first: Annotated[Path, typer.Argument(help="pred.json or zip of the first system.")],
    second: Annotated[Path, typer.Argument(help="pred.json or zip of the second system.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="PNG for the samples where the first is worst against the second.")
    ],
    split: Split = None,
    worst: Annotated[int, typer.Option(min=1, help="How many of them.")] = 12,
    limit: Limit = None,
) -> None:
    """Two systems on one benchmark, sample by sample."""
    from maskhand.evaluation.benchmark import protocol_of, read_truth
    from maskhand.evaluation.comparison import compare as compared
    from maskhand.evaluation.comparison import sheet
    from maskhand.evaluation.predictions import load_predictions
    from maskhand.io.files import picture_path

    protocol = protocol_of(benchmark)
    picture_path(out)
    truth = read_truth(protocol, root, split or protocol.splits[0])
    systems = []
    for path in (first, second):
        found, odd = load_predictions(path, protocol, truth.names)
        systems.append(found.first(limit))
        for line in few(odd):
            typer.echo(f"{path}: {line}")
    truth = truth.first(limit)
    one, other = systems
    result = compared(protocol, truth, one, other)
    off = result.difference
    typer.echo(
        f"{result.measure}, first minus second: {off.value:+.3f} (95 %: {off.low:+.3f} to {off.high:+.3f}); "
        f"the first is better on {result.first_better:.1%} of {len(result.per_sample)} samples"
    )
    for k in result.order[:worst]:
        typer.echo(f"  {result.per_sample[k]:+8.3f}  {truth.names[k]}")
    typer.echo(f"-> {sheet(protocol, truth, one, other, result.order[:worst], out)}")


def pose2d(
    benchmark: Annotated[str, typer.Argument(help="freihand, ho3dv2, ho3dv3 or dexycb.")],
    root: Root,
    openpose: Annotated[
        Path | None, typer.Option(help="Folder of OpenPose's JSON files, {image}_keypoints.json.")
    ] = None,
    noise: Annotated[
        list[float] | None, typer.Option(min=0, help="Truth with this noise, in sides of the hand's box; repeat.")
    ] = None,
    split: Split = None,
    model: Weights = "default",
    hand_model: HandModelFile = None,
    steps: Steps = 5,
    refine: Refine = False,
    limit: Limit = None,
) -> None:
    """How much the 2D pose matters (paper Appendix F, Table 10): built-in keypoints, the truth, OpenPose's, noisy
    truth.

    With a given 2D pose the crop is laid around it, its depth is unknown, and the model's own keypoint head, if it has
    one, is not asked; built-in keypoints have all three.
    """
    from maskhand.assets import load
    from maskhand.errors import InputError
    from maskhand.evaluation.benchmark import measure, protocol_of, read_truth
    from maskhand.evaluation.keypoint_sources import keypoint_source

    protocol = protocol_of(benchmark)
    if openpose is not None and not openpose.is_dir():
        raise InputError(f"--openpose is {str(openpose)!r}; expected a folder of OpenPose's JSON files")
    truth = read_truth(protocol, root, split or protocol.splits[0], limit=limit)
    predictor = load(model, hand_model=hand_model, refine=refine)
    settings = [("built-in", "builtin", 0.0), ("truth", "truth", 0.0)]
    settings += [("OpenPose", f"{openpose}/", 0.0)] if openpose else []
    settings += [(f"truth, noise {value:g}", "truth", value) for value in noise or ()]
    rows = {}
    for label, kind, spread in settings:
        source = keypoint_source(kind, spread, truth.samples, root)
        found, _ = run_model(predictor, truth, protocol, steps, source, 0.0)
        rows[label] = measure(protocol, truth, found)
        for note in source.notes() if source else ():
            typer.echo(f"{label}: {note}")
    show_rows(f"{protocol.title}, {len(truth.samples)} samples, hand model {predictor.hand_model.name}", rows)
