"""`maskhand preview synthetic`: look at the images that training makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at what training sees.", no_args_is_help=True)


@app.callback()
def previews() -> None:
    """Look at what training sees."""


@app.command()
def synthetic(
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG to write.")] = Path("synthetic.png"),
    count: Annotated[int, typer.Option(min=1, max=400, help="How many images.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Which ones.")] = 0,
    keypoints: Annotated[bool, typer.Option(help="Draw the true keypoints on every other one: green seen, red hidden.")] = True,
) -> None:
    """A contact sheet of synthetic training images."""
    import cv2
    import numpy as np

    from maskhand.hand_model.free_hand import free_hand_data
    from maskhand.hand_model.layer import HandModel
    from maskhand.images import made_folder, picture_path
    from maskhand.rendering.sheet import contact_sheet
    from maskhand.synthesis.backgrounds import require_packaged_photos
    from maskhand.synthesis.scenes import TRAINING_SCENES, SceneGenerator

    made_folder(out.parent)
    picture_path(out)
    require_packaged_photos()
    tiles: list[np.ndarray] = []
    for sample in SceneGenerator(HandModel(free_hand_data()), TRAINING_SCENES, seed).samples(0, count):
        tile = sample.image.copy()
        if keypoints and len(tiles) % 2 == 0:
            for (x, y), seen in zip((sample.keypoints_2d + 1) / 2 * len(tile), sample.visible, strict=True):
                cv2.circle(tile, (int(x), int(y)), 3, (60, 220, 90) if seen else (235, 70, 70), -1, cv2.LINE_AA)
        tiles.append(tile)
    contact_sheet(tiles, out, min(8, count))
    typer.echo(f"{count} images of seed {seed} -> {out}")
