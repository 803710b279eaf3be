"""`maskhand preview ...`: the images that training makes, and where attention samples a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Pictures of training images, and of the model's attention.", no_args_is_help=True)


@app.command()
def synthetic(
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")] = Path("synthetic.png"),
    count: Annotated[int, typer.Option(min=1, max=400, help="How many images.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Which ones.")] = 0,
    keypoints: Annotated[
        bool, typer.Option(help="Draw the true keypoints on every other one: green seen, red hidden.")
    ] = True,
) -> None:
    """A contact sheet of synthetic training images."""
    import numpy as np

    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel
    from maskhand.io.files import made_folder, picture_path
    from maskhand.rendering.contact_sheet import contact_sheet
    from maskhand.rendering.pictures import drawing
    from maskhand.synthesis.backgrounds import require_packaged_photos
    from maskhand.synthesis.scenes import TRAINING_SCENES, SceneGenerator

    made_folder(out.parent)
    picture_path(out)
    require_packaged_photos()
    tiles: list[np.ndarray] = []
    for sample in SceneGenerator(HandModel(free_hand_data()), TRAINING_SCENES, seed).samples(0, count):
        tile = sample.image.copy()
        if keypoints and len(tiles) % 2 == 0:
            with drawing(tile) as (picture, draw):
                for place, seen in zip((sample.keypoints_2d + 1) / 2 * len(tile), sample.visible, strict=True):
                    draw.circle(tuple(place), 3, fill=(60, 220, 90) if seen else (235, 70, 70))
            tile = np.asarray(picture)
        tiles.append(tile)
    contact_sheet(tiles, out, min(8, count))
    typer.echo(f"{count} images of seed {seed} -> {out}")


@app.command()
def attention(
    photo: Annotated[Path, typer.Argument(help="The photo.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")] = Path("attention.png"),
    layer: Annotated[int, typer.Option(min=1, help="Which of the synthesizer's layers.")] = 1,
    model: Annotated[str, typer.Option(help="`default`, or the path of a .safetensors file.")] = "default",
) -> None:
    """Where the synthesizer samples the image for each token of a hand (paper, Figure 16): around yellow points, at red
    ones.
    """
    import numpy as np

    from maskhand.assets import load
    from maskhand.errors import InputError
    from maskhand.io.files import made_folder, picture_path, written_picture
    from maskhand.io.photos import read_photo
    from maskhand.rendering.overlay import draw_attention

    made_folder(out.parent)
    picture_path(out)
    read, predictor = read_photo(photo), load(model, backend="torch")
    hands = predictor(read)
    if not hands:
        raise InputError(f"no hand found in {photo}")
    rows = [draw_attention(read.pixels, hand, predictor.attention(read, hand, layer)) for hand in hands]
    typer.echo(f"{len(hands)} hand{'s' * (len(hands) != 1)} -> {written_picture(out, np.vstack(rows))}")
