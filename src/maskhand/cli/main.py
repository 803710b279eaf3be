"""The command line: `maskhand COMMAND`. Each command's work is imported when it runs, so that help is instant."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from maskhand.cli import data, demo, detect, evaluate, export, hypotheses, preview, reconstruct, train
from maskhand.errors import MaskHandError

EXTRAS = {
    "torch": "torch",
    "onnx": "torch",
    "array_api_compat": "torch",
    "transformers": "vit",
    **dict.fromkeys(("cv2", "numba", "lightning_fabric", "yaml", "skimage", "sklearn"), "train"),
}
"""Which extra brings a package that not every installation has."""

app = typer.Typer(
    name="maskhand",
    help="3D hand meshes from single photos, with a confidence for every joint.\n\n"
    "Start with [bold]maskhand demo[/bold], then [bold]maskhand reconstruct photo.jpg -o out[/bold].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("detect")(detect.detect)
app.command("hypotheses")(hypotheses.hypotheses)
app.add_typer(evaluate.app, name="evaluate", rich_help_panel="For researchers")
app.add_typer(train.app, name="train", rich_help_panel="For researchers")
app.add_typer(preview.app, name="preview", rich_help_panel="For researchers")
app.add_typer(data.app, name="data", rich_help_panel="For researchers")
app.add_typer(export.app, name="export", rich_help_panel="For researchers")


def _version(shown: bool) -> None:
    if shown:
        import maskhand

        typer.echo(f"maskhand {maskhand.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and leave."
    ),
) -> None:
    """3D hand meshes from single photos."""


def main() -> None:
    """Run the command line; what users can mend is said in one sentence, without a traceback."""
    try:
        app()
    except (MaskHandError, OSError) as error:
        Console(stderr=True).print(f"[bold red]Error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        Console(stderr=True).print(
            f"[bold red]Error:[/bold red] this needs the package {error.name}: pip install 'maskhand\\[{extra}]'",
            highlight=False,
            soft_wrap=True,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped.")
        sys.exit(130)


if __name__ == "__main__":
    main()
