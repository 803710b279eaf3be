"""`maskhand evaluate ...`: the measures of the model card, by a command each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskhand.cli import benchmark
from maskhand.config import DEFAULT_STEPS, DRAWING_STEPS

if TYPE_CHECKING:
    from maskhand.predictor import Predictor

app = typer.Typer(
    help="Measure the tokenizer and the model. The tables of docs/model-card.md come from here.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Model = Annotated[str, typer.Option(help="`default`, `large`, or the path of a .safetensors file.")]
Refine = Annotated[bool, typer.Option(help="Nudge poses towards the measured 2D keypoints, as the predictor does.")]
Steps = Annotated[int, typer.Option(min=1, max=64, help="Rounds of unmasking.")]


@app.command()
def tokenizer(
    poses: Annotated[Path | None, typer.Option(help="npz with recorded hands: positions_mm (N, 25, 3) in WebXR's order.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Held-out poses of the prior.")] = 5000,
    model: Annotated[
        str, typer.Option(help="`default`, or a .safetensors file of `maskhand train tokenizer` or `model`.")
    ] = "default",
    json_: Json = False,
) -> None:
    """What a pose loses by being spelled in tokens: held-out poses of the prior and, with --poses, recorded ones."""
    from maskhand.assets import load_tokenizer
    from maskhand.evaluation.tokenizer import held_out_poses, recorded_poses, tokenizer_errors
    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel

    vq_mano = load_tokenizer("embedded" if model in ("default", "large") else model)
    hand_model = HandModel(free_hand_data())
    result = tokenizer_errors(vq_mano, hand_model, held_out_poses(hand_model, count))
    if poses is not None:
        recorded = tokenizer_errors(vq_mano, hand_model, recorded_poses(poses, hand_model))
        result |= {f"recorded_{key}": value for key, value in recorded.items() if key != "codes_used"}
    show("VQ-MANO, tokens and back (our hand; not comparable with figures on MANO)", result, json_)


@app.command()
def prior(
    poses: Annotated[Path, typer.Argument(help="npz with recorded hands: positions_mm (N, 25, 3) in WebXR's order.")],
    drawn: Annotated[int, typer.Option(min=100, help="Poses drawn from the prior.")] = 20_000,
    json_: Json = False,
) -> None:
    """How far recorded poses are from the nearest drawn one, beside held-out poses of the prior itself."""
    from maskhand.evaluation.prior import prior_coverage
    from maskhand.evaluation.tokenizer import recorded_poses
    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel

    hand_model = HandModel(free_hand_data())
    result = prior_coverage(hand_model, recorded_poses(poses, hand_model), drawn=drawn)
    show("the pose prior beside recorded poses (our hand)", result, json_)


@app.command()
def synthetic(
    count: Annotated[int, typer.Option(min=1, help="Test images; they are drawn on the spot, always the same.")] = 5000,
    steps: Steps = DEFAULT_STEPS,
    refine: Refine = True,
    cache: Annotated[Path | None, typer.Option(help="Folder to keep the features of the test images in.")] = None,
    worst: Annotated[Path | None, typer.Option(help="Picture to draw: the 16 images whose hands come out worst.")] = None,
    model: Model = "default",
    json_: Json = False,
) -> None:
    """Reconstruction of synthetic test images (their own poses, shapes and seeds), beside the landmark network's own 3D."""
    from maskhand.assets import load
    from maskhand.evaluation.reconstruction import reconstructed
    from maskhand.evaluation.synthetic import synthetic_test, worst_sheet
    from maskhand.io.files import made_folder, picture_path

    if worst is not None:
        made_folder(worst.parent)
        picture_path(worst)
    predictor = load(model)
    _said_of_looks(predictor, model)
    samples = synthetic_test(count, cache, images=not predictor.model.reads_maps, upright=predictor.model.config.upright_crop)
    result = reconstructed(
        predictor.model,
        predictor.hand_model,
        samples,
        steps=steps,
        limit=count,
        refine=refine,
        calibration=predictor.calibration,
    )
    show(f"{count} synthetic test images, T = {steps} (our hand; not comparable with figures on MANO)", result.means(), json_)
    if worst is not None:
        typer.echo(f"-> {worst_sheet(result, 16, worst, upright=predictor.model.config.upright_crop)}", err=json_)


@app.command()
def hypotheses(
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 500,
    count: Annotated[int, typer.Option(min=2, help="Hypotheses per hand.")] = 16,
    steps: Steps = DRAWING_STEPS,
    refine: Refine = True,
    cache: Annotated[Path | None, typer.Option(help="Folder to keep the features of the test images in.")] = None,
    model: Model = "default",
    json_: Json = False,
) -> None:
    """Ranked hypotheses of synthetic test hands beside the one answer: by rank, and the best of them."""
    from maskhand.assets import load
    from maskhand.evaluation.hypotheses import hypothesis_errors
    from maskhand.evaluation.synthetic import synthetic_test

    predictor = load(model)
    _said_of_looks(predictor, model)
    samples = synthetic_test(images, cache, images=not predictor.model.reads_maps, upright=predictor.model.config.upright_crop)
    result = hypothesis_errors(predictor, samples, count=count, steps=steps, refine=refine, limit=images)
    show(f"{count} hypotheses of {images} synthetic test images (our hand; not comparable with figures on MANO)", result, json_)


def _said_of_looks(predictor: Predictor, model: str) -> None:
    if predictor.looks > 1:
        typer.echo(f"one look at each test image is kept: these are the figures of one look, not of '{model}'", err=True)


@app.command()
def rounds(
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 500,
    steps: Steps = 10,
    cache: Annotated[Path | None, typer.Option(help="Folder to keep the features of the test images in.")] = None,
    model: Model = "default",
    json_: Json = False,
) -> None:
    """How many tokens are masked after each round, and how sure all of them are in it (paper, Appendix K)."""
    from maskhand.assets import load
    from maskhand.evaluation.reconstruction import rounds as by_round
    from maskhand.evaluation.synthetic import synthetic_test

    predictor = load(model)
    samples = synthetic_test(images, cache, images=not predictor.model.reads_maps, upright=predictor.model.config.upright_crop)
    found = by_round(predictor.model, predictor.hand_model, samples, steps=steps, limit=images)
    result = {
        f"round_{k}_{name}": value
        for k, pair in enumerate(found, 1)
        for name, value in zip(("masked", "confidence"), pair, strict=True)
    }
    show(f"confidence-guided sampling, {images} synthetic test images", result, json_)


@app.command()
def sides(
    count: Annotated[int, typer.Option(min=16, help="Synthetic images.")] = 1600,
    model: Model = "default",
    json_: Json = False,
) -> None:
    """Left or right on synthetic hands: one look, the mean with the mirror image, the likelier of both readings."""
    from maskhand.assets import load
    from maskhand.cli.progress import track
    from maskhand.evaluation.sides import side_accuracy
    from maskhand.synthesis.backgrounds import require_packaged_photos

    require_packaged_photos()
    with track("chunks of images", -(-count // 16)) as advance:
        result = side_accuracy(load(model), count, progress=advance)
    show(f"sides of {count} synthetic hands", result, json_)


@app.command()
def stereo(
    root: Annotated[Path, typer.Option(help="The stereo_handpose3d folder.")],
    steps: Steps = DEFAULT_STEPS,
    refine: Refine = True,
    every: Annotated[int, typer.Option(min=1, help="Use every so manieth frame.")] = 1,
    model: Model = "default",
    json_: Json = False,
) -> None:
    """Real 3D: two calibrated cameras, triangulated joints; both cameras' frames one by one."""
    from maskhand.assets import load
    from maskhand.evaluation.stereo import stereo_errors

    show(f"stereo_handpose3d, T = {steps}", stereo_errors(load(model, refine=refine), root, steps=steps, every=every), json_)


@app.command()
def real(
    root: Annotated[Path, typer.Argument(help="Folder of the development data (docs/data.md).")],
    steps: Steps = DEFAULT_STEPS,
    refine: Refine = True,
    every: Annotated[int, typer.Option(min=1, help="Use every so manieth stereo frame and held-out photo.")] = 1,
    worst: Annotated[
        Path | None, typer.Option(help="Picture to draw: the 24 photos without a hand found, or with the one farthest off.")
    ] = None,
    model: Model = "default",
    json_: Json = False,
) -> None:
    """All real evidence in one table: stereo, photos, sign digits, finger counts, videos; beside the landmark network's own."""
    from maskhand.assets import load
    from maskhand.cli.progress import track
    from maskhand.evaluation.real import real_evidence, worst_photos_sheet
    from maskhand.io.files import made_folder, picture_path

    if worst is not None:
        made_folder(worst.parent)
        picture_path(worst)
    with track("measuring", 6) as advance:
        evidence = real_evidence(load(model, refine=refine), root, steps=steps, every=every, progress=lambda what: advance())
    if worst is not None:
        typer.echo(f"-> {worst_photos_sheet(evidence, root, 24, worst)}", err=True)
    if json_:
        import dataclasses
        import json

        typer.echo(json.dumps([dataclasses.asdict(row) for row in evidence.rows]))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"real evidence, T = {steps}", title_justify="left")
    for column in ("source", "measure", "ours", "landmark network", "better", "count"):
        table.add_column(column)
    for row in evidence.rows:
        theirs = "-" if row.landmark_network is None else f"{row.landmark_network:.2f}"
        table.add_row(row.source, escape(row.measure), f"{row.ours:.2f}", theirs, row.better, str(row.count))
    Console().print(table)


for _name, _title in (
    ("freihand", "FreiHAND"),
    ("ho3dv2", "HO3D v2"),
    ("ho3dv3", "HO3D v3"),
    ("dexycb", "DexYCB"),
    ("hint", "HInt"),
):
    app.command(_name)(benchmark.benchmark_command(_name, _title))
app.command()(benchmark.compare)
app.command()(benchmark.pose2d)


def show(title: str, values: Mapping[str, float | None], as_json: bool) -> None:
    """A table, or one JSON object."""
    import json

    if as_json:
        typer.echo(json.dumps({key: None if value is None else round(value, 4) for key, value in values.items()}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for key, value in values.items():
        table.add_row(key, "-" if value is None else f"{value:.3f}")
    Console().print(table)
