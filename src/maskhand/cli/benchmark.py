"""`maskhand evaluate freihand|ho3dv2|ho3dv3|dexycb|hint|compare|pose2d`: the paper's benchmarks from their original
files.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskhand.cli.progress import track

if TYPE_CHECKING:
    from maskhand.evaluation.benchmark import Figure, KeypointSource, Truth
    from maskhand.evaluation.predictions import Predictions
    from maskhand.evaluation.protocols import Protocol
    from maskhand.predictor import Predictor

Root = Annotated[Path, typer.Argument(help="Folder of the benchmark's original files.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for pred.json, pred.zip, report.md and report.json.")]
Split = Annotated[str | None, typer.Option(help="hint: newdays, visor or ego4d; dexycb: s0_test, peers_test, s0_val.")]
Weights = Annotated[str, typer.Option(help="`default`, `large`, or the path of a .safetensors file.")]
HandModelFile = Annotated[Path | None, typer.Option(help="MANO_RIGHT.pkl, for weights trained on MANO.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Measure the first so many samples only; the report says so.")]
Refine = Annotated[
    bool,
    typer.Option(
        help="Nudge poses towards the 2D pose, as the predictor does (ours); --no-refine: the network's answer."
    ),
]
Steps = Annotated[int, typer.Option(min=1, max=64, help="Rounds of unmasking.")]
Temperature = Annotated[
    float,
    typer.Option(
        min=0, help="Draw codes at this temperature, as the paper does (1); 0 takes the mean of what is likely (ours)."
    ),
]
TopK = Annotated[
    int | None, typer.Option(min=1, help="Draw among so many likeliest codes (the paper: 5 % of them, or 100).")
]


def benchmark_command(name: str, title: str) -> Any:
    """The command that measures one benchmark."""

    def command(
        context: typer.Context,
        root: Root,
        out: Out,
        predictions: Annotated[
            Path | None, typer.Option(help="Score this pred.json or zip instead of running a model.")
        ] = None,
        split: Split = None,
        model: Weights = "default",
        hand_model: HandModelFile = None,
        steps: Steps = 5,
        refine: Refine = True,
        temperature: Temperature = 0.0,
        top_k: TopK = None,
        keypoints: Annotated[
            str,
            typer.Option(help="2D pose: `builtin`, `truth`, or a folder of OpenPose's JSON files, laid out like ROOT."),
        ] = "builtin",
        keypoint_noise: Annotated[
            float, typer.Option(min=0, help="With `truth`: noise in sides of the hand's box.")
        ] = 0.0,
        mask_share: Annotated[
            float, typer.Option(min=0, max=1, help="Hide this share of the hand (Table 4: 0.8, 0.9).")
        ] = 0.0,
        no_reflection: Annotated[
            bool,
            typer.Option("--no-reflection", help="Align by rotations alone, as HaMeR does; official code may mirror."),
        ] = False,
        limit: Limit = None,
    ) -> None:
        from maskhand.assets import load
        from maskhand.errors import InputError
        from maskhand.evaluation.benchmark import UNKNOWN, evaluate, protocol_of, read_truth
        from maskhand.evaluation.predictions import load_predictions, save_predictions
        from maskhand.evaluation.report import as_markdown, write_report
        from maskhand.io.files import made_folder

        of_a_model = ("model", "hand_model", "steps", "refine", "temperature", "top_k", "keypoints")
        given = {name for name in of_a_model if context.get_parameter_source(name).name == "COMMANDLINE"}  # type: ignore[union-attr]
        if predictions and given:
            raise InputError(
                "--predictions scores a file: --model, --hand-model, --steps, --no-refine, --temperature, --top-k and "
                "--keypoints say nothing of it"
            )
        if top_k and not temperature:
            raise InputError(f"--top-k {top_k} says what codes are drawn from; add --temperature 1")
        if keypoint_noise and keypoints != "truth":
            raise InputError(f"--keypoint-noise {keypoint_noise:g} is noise on the true 2D pose; add --keypoints truth")
        protocol = protocol_of(name)
        if no_reflection:
            protocol = replace(protocol, reflection=False)
        split = split or protocol.splits[0]
        made_folder(out)
        truth = read_truth(protocol, root, split, limit=None if predictions else limit)
        if predictions is not None:
            found, odd = load_predictions(predictions, protocol, truth.names)
            notes = _few(odd)
            if mask_share:
                notes.append("masked by the word of --mask-share; the file does not tell")
            system, hand = predictions.stem, "mano" if found.vertices is not None else UNKNOWN
            truth, found = truth.first(limit), found.first(limit)
        else:
            predictor = load(model, hand_model=hand_model, refine=refine, temperature=temperature, top_k=top_k)
            source, said = _source(keypoints, keypoint_noise, truth, root)
            found, seconds = _run(predictor, truth, protocol, steps, source, mask_share)
            noise = f" with noise of {keypoint_noise:g} sides of the box" if keypoint_noise else ""
            fit = "poses fitted to it afterwards" if refine else "poses as the network gives them"
            notes = [
                f"{seconds:.3f} s an image, reading left out (AITI)",
                f"2D pose: {keypoints}{noise}, {fit}, T = {steps}",
                (f"codes drawn at temperature {temperature:g}" + (f" among the {top_k} likeliest" if top_k else ""))
                if temperature
                else "each code the mean of what is likely (the paper draws codes: --temperature 1)",
                *said(),
            ]
            system, hand = f"maskhand {model}", predictor.hand_model.name
            save_predictions(out, found, protocol)
        if limit:
            notes.append(f"only the first {len(truth.samples)} samples were measured (--limit)")
        if no_reflection:
            notes.append("alignment without reflections")
        report = evaluate(
            protocol, truth, found, split=split, system=system, hand_model=hand, notes=notes, mask_share=mask_share
        )
        path, _ = write_report(report, out)
        typer.echo(as_markdown(report))
        typer.echo(f"-> {path}")

    command.__doc__ = f"{title}: the published protocol on the original files, beside the paper's rows."
    return command


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
        for line in _few(odd):
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
        source, said = _source(kind, spread, truth, root)
        found, _ = _run(predictor, truth, protocol, steps, source, 0.0)
        rows[label] = measure(protocol, truth, found)
        for note in said():
            typer.echo(f"{label}: {note}")
    _show_rows(f"{protocol.title}, {len(truth.samples)} samples, hand model {predictor.hand_model.name}", rows)


def _few(lines: list[str], shown: int = 20) -> list[str]:
    """The first lines, and how many more there are."""
    return [*lines[:shown], *([f"{len(lines) - shown} more such samples"] if len(lines) > shown else [])]


def _source(kind: str, noise: float, truth: Truth, root: Path) -> tuple[KeypointSource | None, Any]:
    """Where keypoints come from, and what is to be said of it afterwards."""
    from maskhand.detection.openpose_json import hand_in_box, read_openpose
    from maskhand.errors import InputError
    from maskhand.evaluation.benchmark import noisy_truth

    if kind == "builtin":
        return None, list
    missed: list[str] = []

    def said() -> list[str]:
        return [f"{len(missed)} samples had no 2D pose there; built-in keypoints in them"] if missed else []

    if kind == "truth":
        chosen: KeypointSource = noisy_truth(noise)
    else:
        folder = Path(kind)
        if not folder.is_dir():
            raise InputError(
                f"--keypoints is {kind!r}; expected `builtin`, `truth`, or a folder of OpenPose's JSON files"
            )
        stems = [sample.image.stem for sample in truth.samples if isinstance(sample.image, Path)]
        images = {str(sample.image) for sample in truth.samples}
        flat = len(set(stems)) == len(images)

        def chosen(sample: Any, image: Any) -> Any:
            if not isinstance(sample.image, Path):
                raise InputError(f"sample {sample.name} is no file of its own; OpenPose's files go by image names")
            own = sample.image.relative_to(root)
            path = folder / own.with_name(f"{own.stem}_keypoints.json")
            if not path.exists() and flat:
                path = folder / path.name
            return hand_in_box(read_openpose(path), sample.side, sample.hand_box)

    def source(sample: Any, image: Any) -> Any:
        points = chosen(sample, image)
        if points is None:
            missed.append(sample.name)
        return points

    return source, said


def _run(
    predictor: Predictor, truth: Truth, protocol: Protocol, steps: int, source: KeypointSource | None, mask_share: float
) -> tuple[Predictions, float]:
    from maskhand.evaluation.benchmark import predict

    with track("reconstructing", len(truth.samples)) as advance:
        return predict(
            predictor,
            truth.samples,
            protocol,
            steps=steps,
            keypoints=source,
            mask_share=mask_share,
            progress=advance,
        )


def _show_rows(title: str, rows: dict[str, dict[str, Figure]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("2D pose")
    columns = list(next(iter(rows.values())))
    for column in columns:
        table.add_column(column, justify="right")
    for label, figures in rows.items():
        table.add_row(
            label, *(f"{figures[c].value:.2f} ({figures[c].low:.2f} to {figures[c].high:.2f})" for c in columns)
        )
    Console().print(table)
