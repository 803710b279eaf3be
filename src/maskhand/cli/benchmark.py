"""`maskhand evaluate freihand|ho3dv2|ho3dv3|dexycb|hint|compare|pose2d`: the paper's benchmarks from their original
files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskhand.cli.progress import track

if TYPE_CHECKING:
    from maskhand.evaluation.benchmark import Figure, Truth
    from maskhand.evaluation.keypoint_sources import KeypointSource
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
        help="Fit poses to the 2D pose, as the predictor does (ours); --no-refine: the network's own prediction."
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


Scored = Annotated[Path | None, typer.Option(help="Score this pred.json or zip instead of running a model.")]
Keypoints = Annotated[
    str, typer.Option(help="2D pose: `builtin`, `truth`, or a folder of OpenPose's JSON files, laid out like ROOT.")
]
KeypointNoise = Annotated[float, typer.Option(min=0, help="With `truth`: noise in sides of the hand's box.")]
MaskShare = Annotated[float, typer.Option(min=0, max=1, help="Hide this share of the hand (Table 4: 0.8, 0.9).")]
NoReflection = Annotated[
    bool, typer.Option("--no-reflection", help="Align by rotations alone, as HaMeR does; official code may mirror.")
]


@dataclass(frozen=True)
class _Request:
    """What a model is asked for a benchmark."""

    model: str
    hand_model: Path | None
    steps: int
    refine: bool
    temperature: float
    top_k: int | None
    keypoints: str
    keypoint_noise: float
    mask_share: float
    no_reflection: bool

    def check(self) -> None:
        from maskhand.errors import InputError

        if self.top_k and not self.temperature:
            raise InputError(f"--top-k {self.top_k} says what codes are drawn from; add --temperature 1")
        if self.keypoint_noise and self.keypoints != "truth":
            noise = f"--keypoint-noise {self.keypoint_noise:g}"
            raise InputError(f"{noise} is noise on the true 2D pose; add --keypoints truth")

    def notes(self, seconds: float) -> list[str]:
        noise = f" with noise of {self.keypoint_noise:g} sides of the box" if self.keypoint_noise else ""
        fit = "poses fitted to it afterwards" if self.refine else "poses as the network gives them"
        drawn = "each code the mean of what is likely (the paper draws codes: --temperature 1)"
        if self.temperature:
            among = f" among the {self.top_k} likeliest" if self.top_k else ""
            drawn = f"codes drawn at temperature {self.temperature:g}{among}"
        aiti = f"{seconds:.3f} s an image, reading left out (AITI)"
        return [aiti, f"2D pose: {self.keypoints}{noise}, {fit}, T = {self.steps}", drawn]


def benchmark_command(name: str, title: str) -> Any:
    """The command that measures one benchmark."""

    def command(
        context: typer.Context,
        root: Root,
        out: Out,
        predictions: Scored = None,
        split: Split = None,
        model: Weights = "default",
        hand_model: HandModelFile = None,
        steps: Steps = 5,
        refine: Refine = True,
        temperature: Temperature = 0.0,
        top_k: TopK = None,
        keypoints: Keypoints = "builtin",
        keypoint_noise: KeypointNoise = 0.0,
        mask_share: MaskShare = 0.0,
        no_reflection: NoReflection = False,
        limit: Limit = None,
    ) -> None:
        from maskhand.evaluation.benchmark import protocol_of
        from maskhand.io.files import made_folder

        request = _Request(
            model, hand_model, steps, refine, temperature, top_k, keypoints, keypoint_noise, mask_share, no_reflection
        )
        if predictions:
            _refuse_model_options(context)
        request.check()
        protocol = protocol_of(name)
        if no_reflection:
            protocol = replace(protocol, reflection=False)
        made_folder(out)
        _measure(protocol, root, out, split or protocol.splits[0], predictions, request, limit)

    command.__doc__ = f"{title}: the published protocol on the original files, beside the paper's rows."
    return command


def _refuse_model_options(context: typer.Context) -> None:
    from maskhand.errors import InputError

    of_a_model = ("model", "hand_model", "steps", "refine", "temperature", "top_k", "keypoints")
    if any(context.get_parameter_source(name).name == "COMMANDLINE" for name in of_a_model):  # type: ignore[union-attr]
        raise InputError(
            "--predictions scores a file: --model, --hand-model, --steps, --no-refine, --temperature, --top-k and "
            "--keypoints say nothing of it"
        )


def _measure(
    protocol: Protocol,
    root: Path,
    out: Path,
    split: str,
    predictions: Path | None,
    request: _Request,
    limit: int | None,
) -> None:
    """Truth, predictions from a file or a model, figures, report."""
    from maskhand.assets import load
    from maskhand.evaluation.benchmark import UNKNOWN, evaluate, read_truth
    from maskhand.evaluation.keypoint_sources import keypoint_source
    from maskhand.evaluation.predictions import load_predictions, save_predictions
    from maskhand.evaluation.report import as_markdown, write_report

    truth = read_truth(protocol, root, split, limit=None if predictions else limit)
    if predictions is not None:
        predicted, odd = load_predictions(predictions, protocol, truth.names)
        notes = few(odd)
        if request.mask_share:
            notes.append("masked by the word of --mask-share; the file does not tell")
        system, hand = predictions.stem, "mano" if predicted.vertices is not None else UNKNOWN
        truth, predicted = truth.first(limit), predicted.first(limit)
    else:
        predictor = load(
            request.model,
            hand_model=request.hand_model,
            refine=request.refine,
            temperature=request.temperature,
            top_k=request.top_k,
        )
        source = keypoint_source(request.keypoints, request.keypoint_noise, truth.samples, root)
        predicted, seconds = run_model(predictor, truth, protocol, request.steps, source, request.mask_share)
        notes = request.notes(seconds) + (source.notes() if source else [])
        system, hand = f"maskhand {request.model}", predictor.hand_model.name
        save_predictions(out, predicted, protocol)
    if limit:
        notes.append(f"only the first {len(truth.samples)} samples were measured (--limit)")
    if request.no_reflection:
        notes.append("alignment without reflections")
    share = request.mask_share
    report = evaluate(
        protocol, truth, predicted, split=split, system=system, hand_model=hand, notes=notes, mask_share=share
    )
    path, _ = write_report(report, out)
    typer.echo(as_markdown(report))
    typer.echo(f"-> {path}")


def few(lines: list[str], shown: int = 20) -> list[str]:
    """The first lines, and how many more there are."""
    return [*lines[:shown], *([f"{len(lines) - shown} more such samples"] if len(lines) > shown else [])]


def run_model(
    predictor: Predictor, truth: Truth, protocol: Protocol, steps: int, source: KeypointSource | None, mask_share: float
) -> tuple[Predictions, float]:
    from maskhand.evaluation.benchmark_run import predict

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


def show_rows(title: str, rows: dict[str, dict[str, Figure]]) -> None:
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
