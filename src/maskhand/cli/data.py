"""`maskhand data ...`: check and prepare data sets, and write the features that training reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np

    from maskhand.types import Detection

app = typer.Typer(help="Check and prepare data sets; write the features that training reads.", no_args_is_help=True)
cache = typer.Typer(help="Write features of the frozen image trunk once, to train on many times.", no_args_is_help=True)
app.add_typer(cache, name="cache")


@app.callback()
def root() -> None:
    """Check and prepare data sets; write the features that training reads."""


DatasetName = Annotated[
    str,
    typer.Argument(
        help="freihand, ho3dv2, ho3dv3, dexycb, interhand, mtc, rhd, h2o3d, coco-wholebody, halpe, mpii-nzsl, hint, "
        "hamer-shards or hamer-eval."
    ),
]


@app.command()
def check(
    name: DatasetName,
    root: Annotated[Path, typer.Argument(help="Folder of the original files.")],
    split: Annotated[str | None, typer.Option(help="The first one if left out.")] = None,
    sheet: Annotated[Path | None, typer.Option("-o", "--sheet", help="Contact sheet to draw (.png).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Check the first so many hands only.")] = None,
    images: Annotated[bool, typer.Option(help="Open every image; --no-images opens those of the sheet only.")] = True,
) -> None:
    """Check a downloaded data set: labels, images, counts, a contact sheet. Exit status 1 if something is wrong."""
    from maskhand.data.check import check as look_over
    from maskhand.data.datasets import dataset
    from maskhand.io.files import picture_path
    from maskhand.rendering.contact_sheet import contact_sheet

    chosen = dataset(name)
    split = split or next(iter(chosen.splits))
    if sheet:
        picture_path(sheet)
    found = look_over(chosen, root, split, limit=limit, every_image=images)
    typer.echo(f"{chosen.title}, {split} ({chosen.licence})")
    for line in found.said():
        typer.echo(line)
    if sheet and found.tiles:
        typer.echo(f"-> {contact_sheet(found.tiles, sheet)}")
    for line in found.wrong[:20]:
        typer.echo(f"wrong: {line}", err=True)
    if found.wrong:
        typer.echo(f"{len(found.wrong)} things are wrong", err=True)
        raise typer.Exit(1)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="`synthetic`, or a data set of `maskhand data check`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the tars; a stopped run goes on.")],
    root: Annotated[Path | None, typer.Argument(help="Folder of the original files.")] = None,
    split: Annotated[str | None, typer.Option(help="The first one if left out.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many hands only; synthetic: how many to draw.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="synthetic: which images; 1 if left out.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Hands per tar.")] = 1000,
    size: Annotated[int, typer.Option(min=32, help="Largest side of a crop [px].")] = 320,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; as many as cores if left out.")] = None,
) -> None:
    """A data set as webdataset tars: JPEG crops and npz labels, written in parallel, with a manifest of counts and
    hashes.
    """
    from maskhand.cli.progress import track
    from maskhand.data.datasets import dataset
    from maskhand.data.shards import ShardConfig, dataset_chunks, synthetic_chunks
    from maskhand.data.shards import prepare as write
    from maskhand.errors import InputError

    if name == "synthetic":
        from maskhand.evaluation.synthetic import TEST_SEED
        from maskhand.synthesis.backgrounds import require_packaged_photos

        require_packaged_photos()
        if root is not None or split is not None:
            raise InputError(
                "synthetic images have no ROOT and no --split: "
                "maskhand data prepare synthetic -o OUT --count N --seed S"
            )
        seed = 1 if seed is None else seed
        if seed == TEST_SEED:
            raise InputError(f"seed {seed} is the synthetic test's; train on another")
        chunks = synthetic_chunks(count or 10_000, rows, seed)
        title = f"synthetic-seed{seed}"
    else:
        chosen = dataset(name)
        if seed is not None:
            raise InputError(f"--seed {seed} draws synthetic images; {name} has its own")
        if root is None:
            raise InputError(f"say where the original files are: maskhand data prepare {name} ROOT. {chosen.where}")
        split = split or next(iter(chosen.splits))
        chunks = dataset_chunks(chosen, root, split, rows, count)
        title = f"{name}-{split}".replace("*", "all").translate(dict.fromkeys(map(ord, "/?[]\\"), "-"))
    with track("tars", None) as advance:
        manifest = write(out, title, chunks, ShardConfig(rows=rows, size=size), workers=workers, progress=advance)
    typer.echo(f"{manifest['count']} hands in {len(manifest['shards'])} tars, {manifest['left_out']} left out -> {out}")


@cache.command()
def synthetic(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the shards; a stopped run goes on.")],
    shards: Annotated[int, typer.Option(min=1, help="How many shards.")] = 100,
    rows: Annotated[int, typer.Option(min=1, help="Images per shard; about 65 kB each on disk.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Which images; the test's seed is refused.")] = 1,
    backgrounds: Annotated[str | None, typer.Option(help="Folder of photographs to use as backgrounds.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    half: Annotated[
        bool, typer.Option("--half", help="The trunk in bfloat16, if the CPU has it: faster, slightly rougher.")
    ] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Keep the images too, to measure a trunk that learns whole.")
    ] = False,
) -> None:
    """Features of synthetic images, with their truth."""
    from maskhand.data.feature_cache import cache_shards
    from maskhand.errors import InputError
    from maskhand.evaluation.synthetic import TEST_SEED
    from maskhand.synthesis.backgrounds import require_packaged_photos
    from maskhand.synthesis.scenes import TRAINING_SCENES
    from maskhand.training.precision import HALF_IS_SLOW, half_is_fast

    require_packaged_photos()
    if seed == TEST_SEED:
        raise InputError(f"seed {seed} is the synthetic test's; train on another")
    if half and not half_is_fast("cpu"):
        typer.echo(HALF_IS_SLOW, err=True)
        half = False
    config = replace(TRAINING_SCENES, backgrounds=backgrounds)
    cache_shards(
        out, seed=seed, shards=range(shards), rows=rows, config=config, workers=workers, half=half, images=images
    )
    typer.echo(f"{shards} shards of {rows} images -> {out}")


@cache.command()
def photos(
    root: Annotated[Path, typer.Argument(help="Folder of the development data (docs/data.md).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the shard.")],
    held_out: Annotated[
        bool, typer.Option("--held-out", help="The photos that only measure, instead of those that train.")
    ] = False,
    crops: Annotated[int, typer.Option(min=1, help="Jittered crops per photo.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="How the crops are jittered.")] = 5,
    images: Annotated[
        bool, typer.Option("--images", help="Keep the crops too, to train with data.synthetic=live.")
    ] = False,
    teacher: Annotated[
        str | None,
        typer.Option(help="Weights that teach in 3D in the landmark network's place: a file, `default`, or `large`."),
    ] = None,
) -> None:
    """Features of real photos, the landmark network's keypoints as their teacher."""
    from maskhand.assets import load
    from maskhand.data.feature_cache import TrunkReader, write_shard
    from maskhand.data.photos import development_photos, missing_sources, photo_samples
    from maskhand.errors import InputError
    from maskhand.io.photos import read_photo

    if not root.is_dir():
        raise InputError(f"folder {root} does not exist")
    for name in missing_sources(root):
        typer.echo(f"{root / name} is not there; going on without it (docs/data.md)", err=True)
    chosen = (photo for photo in development_photos(root) if photo.held_out == held_out)
    predictor = load(teacher or "default")

    def landmarks(image: np.ndarray, hand: Detection) -> np.ndarray:
        return predictor.from_detections(read_photo(image), [hand])[0].trace.landmarks

    samples = photo_samples(chosen, crops=crops, seed=seed, teacher=landmarks if teacher else None)
    rows = write_shard(
        out, samples, TrunkReader(), {"source": "photos", "seed": seed, "teacher": teacher}, images=images
    )
    typer.echo(f"{rows} crops -> {out}")


@app.command()
def cutouts(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the files.")],
    root: Annotated[
        Path | None, typer.Argument(help="Folder of the development data (docs/data.md); without it: synthetic.")
    ] = None,
    boxes: Annotated[Path, typer.Option(help="Folder with our own boxes: training.json and held_out.json.")] = Path(
        "configs/boxes"
    ),
    count: Annotated[int, typer.Option(min=16, help="Synthetic hands to draw.")] = 8000,
    seed: Annotated[int, typer.Option(min=0, help="Which synthetic hands.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
) -> None:
    """Photos and cut-out hands that the hand detector's training photos are composed of."""
    from maskhand.cli.progress import track
    from maskhand.io.files import made_folder
    from maskhand.synthesis.cutouts import packed, save_cutouts

    made_folder(out)
    if root is None:
        from maskhand.synthesis.pairs import PAIR_KINDS
        from maskhand.synthesis.scenes import CHUNK
        from maskhand.synthesis.sprites import synthetic_cutouts, synthetic_pairs

        chunks = -(-count // CHUNK)
        with track("hands", chunks) as advance:
            drawn = synthetic_cutouts(seed, chunks, workers, advance)
            typer.echo(f"{save_cutouts(out / 'synthetic.npz', drawn)} hands -> {out / 'synthetic.npz'}")
        of_each = -(-chunks // 30)
        with track("pairs", len(PAIR_KINDS) * of_each) as advance:
            pairs = synthetic_pairs(seed, of_each, advance)
            typer.echo(f"{save_cutouts(out / 'pairs.npz', pairs)} photos of two hands -> {out / 'pairs.npz'}")
        return
    from maskhand.data.hand_boxes import cutout_sources

    for name, source in cutout_sources(root, boxes).items():
        path = out / f"{name}.npz"
        typer.echo(f"{save_cutouts(path, map(packed, source))} photos and cut-outs -> {path}")
