"""`maskhand evaluate ...`: the measures of the model card, by a command each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskhand.cli import benchmark, benchmark_compare, detect
from maskhand.cli.output import finish, finish_rows
from maskhand.config import DEFAULT_STEPS, DRAWING_STEPS

if TYPE_CHECKING:
    from maskhand.data.cached import CachedSamples
    from maskhand.predictor import Predictor

app = typer.Typer(
    help="Measure the tokenizer and the model. The tables of docs/model-card.md come from here.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Save = Annotated[
    Path | None, typer.Option(help="Folder to save the result in as JSON, with version, date and machine.")
]
Model = Annotated[str, typer.Option(help="`default`, `large`, or the path of a .safetensors file.")]
Refine = Annotated[bool, typer.Option(help="Fit poses to the 2D keypoints, as the predictor does.")]
Steps = Annotated[int, typer.Option(min=1, max=64, help="Rounds of unmasking.")]
Cache = Annotated[Path | None, typer.Option(help="Folder to keep the features of the images in.")]
Data = Annotated[Path, typer.Argument(help="Folder of the development data (docs/data.md).")]


@app.command()
def tokenizer(
    poses: Annotated[
        Path | None, typer.Option(help="npz with recorded hands: positions_mm (N, 25, 3) in WebXR's order.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Held-out poses of the prior.")] = 5000,
    model: Annotated[
        str, typer.Option(help="`default`, or a .safetensors file of `maskhand train tokenizer` or `model`.")
    ] = "default",
    json_: Json = False,
    save: Save = None,
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
    finish("VQ-MANO, tokens and back (our hand; not comparable with figures on MANO)", "tokenizer", result, json_, save)


@app.command()
def prior(
    poses: Annotated[Path, typer.Argument(help="npz with recorded hands: positions_mm (N, 25, 3) in WebXR's order.")],
    drawn: Annotated[int, typer.Option(min=100, help="Poses drawn from the prior.")] = 20_000,
    json_: Json = False,
    save: Save = None,
) -> None:
    """How far recorded poses are from the nearest drawn one, beside held-out poses of the prior itself."""
    from maskhand.evaluation.prior import prior_coverage
    from maskhand.evaluation.tokenizer import recorded_poses
    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel

    hand_model = HandModel(free_hand_data())
    result = prior_coverage(hand_model, recorded_poses(poses, hand_model), drawn=drawn)
    finish("the pose prior beside recorded poses (our hand)", "prior", result, json_, save)


@app.command()
def synthetic(
    count: Annotated[int, typer.Option(min=1, help="Test images; they are drawn on the spot, always the same.")] = 5000,
    steps: Steps = DEFAULT_STEPS,
    refine: Refine = True,
    hard: Annotated[
        bool, typer.Option("--hard", help="Gloved hands, hands that hold cartons, and clasped ones, in equal parts.")
    ] = False,
    cache: Cache = None,
    worst: Annotated[
        Path | None, typer.Option(help="Picture to draw: the 16 images whose hands come out worst.")
    ] = None,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """Reconstruction of synthetic test images (their own poses, shapes and seeds), beside the landmark network's own
    3D.
    """
    from maskhand.evaluation.reconstruction import reconstructed
    from maskhand.evaluation.synthetic import worst_sheet

    _check_picture(worst)
    predictor, samples = _predictor_and_test(model, count, cache, hard)
    network, hand_model = predictor.network, predictor.hand_model
    result = reconstructed(network, hand_model, samples, predictor.config, steps=steps, limit=count, refine=refine)
    title = (
        f"{count} {'hard ' * hard}synthetic test images, T = {steps} (our hand; not comparable with figures on MANO)"
    )
    name = "hard" if hard else "synthetic"
    finish(title, f"{name}-{count}-t{steps}" + "-bare" * (not refine), result.means(), json_, save)
    if worst is not None:
        typer.echo(f"-> {worst_sheet(result, 16, worst, upright=network.config.crop.upright, hard=hard)}", err=json_)


@app.command()
def hypotheses(
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 500,
    count: Annotated[int, typer.Option(min=2, help="Hypotheses per hand.")] = 16,
    steps: Steps = DRAWING_STEPS,
    refine: Refine = True,
    cache: Cache = None,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """Ranked hypotheses of synthetic test hands beside the single prediction: by rank, and the best of them."""
    from maskhand.evaluation.hypotheses import hypothesis_errors

    predictor, samples = _predictor_and_test(model, images, cache)
    result = hypothesis_errors(predictor, samples, count=count, steps=steps, refine=refine, limit=images)
    title = f"{count} hypotheses of {images} synthetic test images (our hand; not comparable with figures on MANO)"
    finish(title, f"hypotheses-{images}-t{steps}", result, json_, save)


@app.command()
def rounds(
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 500,
    steps: Steps = 10,
    cache: Cache = None,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """How many tokens are masked after each round, and how sure all of them are in it (paper, Appendix K)."""
    from maskhand.evaluation.reconstruction import rounds as by_round

    predictor, samples = _predictor_and_test(model, images, cache)
    pairs = by_round(predictor.network, predictor.hand_model, samples, steps=steps, limit=images)
    result = {
        f"round_{k}_{name}": value
        for k, pair in enumerate(pairs, 1)
        for name, value in zip(("masked", "confidence"), pair, strict=True)
    }
    finish(
        f"confidence-guided sampling, {images} synthetic test images", f"rounds-{images}-t{steps}", result, json_, save
    )


@app.command()
def sides(
    count: Annotated[int, typer.Option(min=16, help="Synthetic images.")] = 1600,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """Left or right on synthetic hands: one crop, the mean with the mirror image, the likelier of both readings; and on
    photos of two hands, a 25th as many of each kind: apart, crossed, interlocked, from the back, one's own, mirrored.
    """
    from maskhand.assets import load
    from maskhand.cli.progress import track
    from maskhand.evaluation.sides import pair_sides, side_accuracy
    from maskhand.synthesis.backgrounds import require_packaged_photos
    from maskhand.synthesis.pairs import PAIR_KINDS

    require_packaged_photos()
    with track("chunks of images", -(-count // 16)) as advance:
        result = side_accuracy(load(model, backend="torch"), count, progress=advance)
    with track("photos of two hands", len(PAIR_KINDS)) as advance:
        result |= pair_sides(load(model), -(-count // 25), progress=advance)
    finish(f"sides of {count} synthetic hands", f"sides-{count}", result, json_, save)


@app.command()
def stereo(
    root: Annotated[Path, typer.Option(help="The stereo_handpose3d folder.")],
    steps: Steps = DEFAULT_STEPS,
    refine: Refine = True,
    every: Annotated[int, typer.Option(min=1, help="Use every so manieth frame.")] = 1,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """Real 3D: two calibrated cameras, triangulated joints; both cameras' frames one by one."""
    from maskhand.assets import load
    from maskhand.evaluation.stereo import stereo_errors

    result = stereo_errors(load(model, refine=refine), root, steps=steps, every=every)
    finish(f"stereo_handpose3d, T = {steps}", f"stereo-t{steps}", result, json_, save)


@app.command()
def real(
    root: Data,
    steps: Steps = DEFAULT_STEPS,
    refine: Refine = True,
    every: Annotated[int, typer.Option(min=1, help="Use every so manieth stereo frame and held-out photo.")] = 1,
    worst: Annotated[
        Path | None,
        typer.Option(help="Picture to draw: the 24 photos without a hand found, or with the one farthest off."),
    ] = None,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """All real evidence in one table: stereo, photos, sign digits, finger counts, videos; beside the landmark network's
    own.
    """
    import dataclasses

    from maskhand.assets import load
    from maskhand.cli.progress import track
    from maskhand.evaluation.real_evidence import real_evidence
    from maskhand.evaluation.worst_photos import worst_photos_sheet

    _check_picture(worst)
    with track("measuring", 6) as advance:
        evidence = real_evidence(
            load(model, refine=refine), root, steps=steps, every=every, progress=lambda what: advance()
        )
    if worst is not None:
        typer.echo(f"-> {worst_photos_sheet(evidence, root, 24, worst)}", err=True)
    rows = [dataclasses.asdict(row) for row in evidence.rows]
    finish_rows(f"real evidence, T = {steps}", "real", rows, json_, save)


@app.command()
def heuristics(
    root: Data,
    cache: Annotated[Path, typer.Option(help="Folder to keep the features of its synthetic images in.")],
    images: Annotated[int, typer.Option(min=1, help="Synthetic images, in shards of 250.")] = 1000,
    every: Annotated[int, typer.Option(min=1, help="Use every so manieth training photo.")] = 8,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    model: Model = "default",
    json_: Json = False,
    save: Save = None,
) -> None:
    """Every heuristic between photo and hands switched off in turn, on images and photos that chose none of them."""
    from maskhand.cli.progress import track
    from maskhand.data.feature_cache import cache_shards
    from maskhand.evaluation.heuristics import HEURISTICS_SEED, VARIANTS, measure_heuristics
    from maskhand.synthesis.backgrounds import require_packaged_photos
    from maskhand.synthesis.scenes import SceneConfig

    require_packaged_photos()
    shards = range(-(-images // 250))
    cache_shards(cache, seed=HEURISTICS_SEED, shards=shards, rows=250, config=SceneConfig(), workers=workers)
    with track("variants", len(VARIANTS)) as advance:
        rows = measure_heuristics(root, cache, every=every, workers=workers, model=model, progress=advance)
    finish_rows("heuristics, each switched off in turn", "heuristics", rows, json_, save)


for _name, _title in (
    ("freihand", "FreiHAND"),
    ("ho3dv2", "HO3D v2"),
    ("ho3dv3", "HO3D v3"),
    ("dexycb", "DexYCB"),
    ("hint", "HInt"),
):
    app.command(_name)(benchmark.benchmark_command(_name, _title))
app.command("detection")(detect.evaluate)
app.command()(benchmark_compare.compare)
app.command()(benchmark_compare.pose2d)


def _predictor_and_test(
    model: str, count: int, cache: Path | None, hard: bool = False
) -> tuple[Predictor, CachedSamples]:
    """The predictor and the synthetic test images it reads, one view each."""
    from maskhand.assets import load
    from maskhand.evaluation.synthetic import synthetic_test

    predictor = load(model, backend="torch")
    if predictor.reconstructor.views > 1:
        typer.echo(
            f"one view of each test image is kept: these are the figures of one view, not of '{model}'", err=True
        )
    network = predictor.network
    samples = synthetic_test(
        count, cache, images=network.input_px is not None, upright=network.config.crop.upright, hard=hard
    )
    return predictor, samples


def _check_picture(path: Path | None) -> None:
    from maskhand.io.files import made_folder, picture_path

    if path is not None:
        made_folder(path.parent)
        picture_path(path)
