"""`maskhand export onnx`: the networks as files that other programs and languages run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The networks in formats of other tools.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The networks in formats of other tools."""


@app.command()
def onnx(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the files; made if absent.")],
    model: Annotated[str, typer.Option(help="`default`, or the path of a .safetensors file.")] = "default",
    hand_model: Annotated[
        Path | None, typer.Option(help="An npz or MANO_RIGHT.pkl, for weights trained on it.")
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Without weights, as the package ships them beside its .safetensors files.")
    ] = False,
) -> None:
    r"""Write hands, palms, landmarks, encode, round, mean, pose and hand as .onnx files (opset 18, dynamic batch).

    What goes in and comes out of each: docs/python.md. Needs PyTorch (pip install 'maskhand\[torch]').

    Examples:
        maskhand export onnx -o graphs

        maskhand export onnx -o graphs --model runs/mine/best.safetensors

    """
    from maskhand.assets import EMBEDDED, embedded, hand_model_of, read_network
    from maskhand.errors import ConfigError
    from maskhand.io.files import made_folder

    try:
        from maskhand.runtime.export import export_bare_graphs, export_graphs
    except ImportError as error:
        raise ConfigError(f"exporting needs {error.name}: pip install 'maskhand[torch]'") from error
    weights = embedded("default.safetensors") if model in EMBEDDED else Path(model)
    network, config = read_network(weights)
    hand = hand_model_of(config, hand_model, weights)
    folder = made_folder(out)
    if bare:
        export_bare_graphs(folder, network)
    else:
        export_graphs(folder, network, hand)
    for path in sorted(folder.glob("*.onnx")):
        typer.echo(f"{path.name:16} {path.stat().st_size / 1e6:6.2f} MB")
