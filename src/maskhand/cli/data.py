"""`maskhand data ...`: prepare what training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Prepare training data.", no_args_is_help=True)
cache = typer.Typer(help="Write features of the frozen image trunk once, to train on many times.", no_args_is_help=True)
app.add_typer(cache, name="cache")


@app.callback()
def root() -> None:
    """Prepare training data."""


@cache.command()
def synthetic(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the shards; a stopped run goes on.")],
    shards: Annotated[int, typer.Option(min=1, help="How many shards.")] = 100,
    rows: Annotated[int, typer.Option(min=1, help="Images per shard; about 65 kB each on disk.")] = 1000,
    seed: Annotated[int, typer.Option(help="Which images; the test's seed is refused.")] = 1,
    backgrounds: Annotated[str | None, typer.Option(help="Folder of photographs to use as backgrounds.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    half: Annotated[bool, typer.Option("--half", help="Run the trunk in bfloat16: faster, slightly rougher features.")] = False,
) -> None:
    """Features of synthetic images, with their truth."""
    from maskhand.data.feature_cache import cache_shards
    from maskhand.errors import InputError
    from maskhand.evaluation.synthetic import TEST_SEED
    from maskhand.synthesis.backgrounds import require_packaged_photos
    from maskhand.synthesis.scenes import SceneConfig

    require_packaged_photos()
    if seed == TEST_SEED:
        raise InputError(f"seed {seed} is the synthetic test's; train on another")
    config = SceneConfig(backgrounds=backgrounds)
    cache_shards(out, seed=seed, shards=range(shards), rows=rows, config=config, workers=workers, half=half)
    typer.echo(f"{shards} shards of {rows} images -> {out}")


@cache.command()
def photos(
    root: Annotated[Path, typer.Argument(help="Folder of the development data (docs/data.md).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the shard.")],
    held_out: Annotated[
        bool, typer.Option("--held-out", help="The photos that only measure, instead of those that train.")
    ] = False,
    crops: Annotated[int, typer.Option(min=1, help="Shaken crops per photo.")] = 3,
    seed: Annotated[int, typer.Option(help="How the crops are shaken.")] = 5,
) -> None:
    """Features of real photos, the landmark network's keypoints as their teacher."""
    from maskhand.data.feature_cache import TrunkReader, write_shard
    from maskhand.data.photos import development_photos, photo_samples
    from maskhand.errors import InputError

    if not root.is_dir():
        raise InputError(f"folder {root} does not exist")
    chosen = (photo for photo in development_photos(root) if photo.held_out == held_out)
    rows = write_shard(out, photo_samples(chosen, crops=crops, seed=seed), TrunkReader(), {"source": "photos", "seed": seed})
    typer.echo(f"{rows} crops -> {out}")
