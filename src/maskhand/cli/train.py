"""`maskhand train tokenizer|model|detector`: both stages of the paper, and the hand detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train the tokenizer (stage 1), the model (stage 2) or the hand detector. Stopped runs go on where they were.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Option(help="TOML file; the project's own are in configs/.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for weights, state and log.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: train.steps=1000. May be repeated.")]
StopAfter = Annotated[int | None, typer.Option(min=1, help="Leave, everything saved, once this step is reached.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over even if the folder holds a state to go on from.")]


@app.command()
def tokenizer(config: Config, out: Out, set_: Set = None, stop_after: StopAfter = None, fresh: Fresh = False) -> None:
    """Stage 1: VQ-MANO on poses of the anatomical prior."""
    _needs_train_extra()
    import torch

    from maskhand.config import load
    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel
    from maskhand.training.loop import fit
    from maskhand.training.tokenizer_stage import TokenizerStage, TokenizerTraining

    settings = load(TokenizerTraining, config, set_ or [])
    torch.manual_seed(settings.train.seed)
    fit(
        TokenizerStage(settings, HandModel(free_hand_data())),
        settings.train,
        out,
        resume=not fresh,
        stop_after=stop_after,
    )


@app.command()
def model(config: Config, out: Out, set_: Set = None, stop_after: StopAfter = None, fresh: Fresh = False) -> None:
    """Stage 2: the Context-Guided Masked Transformer, the tokenizer frozen."""
    _needs_train_extra()
    import torch

    from maskhand.assets import load_tokenizer
    from maskhand.config import load
    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel
    from maskhand.training.loop import fit
    from maskhand.training.model_stage import ModelStage
    from maskhand.training.settings import ModelTraining

    settings = load(ModelTraining, config, set_ or [])
    torch.manual_seed(settings.train.seed)
    stage = ModelStage(settings, load_tokenizer(settings.tokenizer), HandModel(free_hand_data()))
    fit(stage, settings.train, out, resume=not fresh, stop_after=stop_after)


@app.command()
def detector(config: Config, out: Out, set_: Set = None, stop_after: StopAfter = None, fresh: Fresh = False) -> None:
    """The hand detector, on photos composed of cut-outs (`maskhand data cutouts`)."""
    _needs_train_extra()
    import torch

    from maskhand.config import load
    from maskhand.training.detector_stage import DetectorStage, DetectorTraining
    from maskhand.training.loop import fit

    settings = load(DetectorTraining, config, set_ or [])
    torch.manual_seed(settings.train.seed)
    on_gpu = settings.train.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    fit(DetectorStage(settings, "cuda" if on_gpu else "cpu"), settings.train, out, resume=not fresh,
        stop_after=stop_after)  # fmt: skip


@app.command()
def export(
    weights: Annotated[Path, typer.Argument(help="best.safetensors or last.safetensors of a model run.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", dir_okay=False, help="File to write: fp16, confidence calibrated.")
    ],
    cache: Annotated[Path, typer.Option(help="Shards with truth to calibrate on, not the test's.")],
) -> None:
    """Turn trained weights into a file to ship: half precision, and the confidence calibrated on held-out images."""
    _needs_train_extra()
    from maskhand.training.export import export_weights

    typer.echo(export_weights(weights, out, cache))


def _needs_train_extra() -> None:
    from importlib.util import find_spec

    from maskhand.errors import ConfigError

    if find_spec("lightning_fabric") is None:
        raise ConfigError("training needs more packages: pip install 'maskhand[train]'")
