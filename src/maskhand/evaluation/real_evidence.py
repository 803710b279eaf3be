"""All real evidence at hand in one table: ours beside the landmark network's own output on the same images.

Sources are the development data's measuring part (docs/data.md): two calibrated cameras, photos of counting hands, the
held-out fifths of the sign digits and of the crops, three videos; and photographs that show no hand. Nothing here has
3D truth but the stereo pair; the rest measures what a user sees: where the mesh lies in the photo, the side, how many
fingers, which digit, how much it jitters, whether its bones collide, whether there is a hand at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from maskhand.config import DEFAULT_STEPS
from maskhand.errors import InputError
from maskhand.evaluation.real_photos import (
    PhotoResult,
    PhotoSet,
    Row,
    collision_rows,
    count_row,
    counting_photos,
    digit_row,
    found_row,
    held_out_photos,
    pipeline_row,
    reconstruct_photos,
    teacher_row,
)
from maskhand.evaluation.real_videos import VIDEOS, video_rows
from maskhand.evaluation.stereo import stereo_errors
from maskhand.predictor import Predictor
from maskhand.synthesis.backgrounds import packaged_photos, require_packaged_photos

SQUARES, SQUARES_SEED = 500, 7
"""Random squares of photographs without a hand."""


@dataclass(frozen=True)
class Evidence:
    """The table, and the photos behind it."""

    rows: list[Row]
    photos: list[PhotoResult]

    def worst(self, count: int) -> list[PhotoResult]:
        """The photos without a hand, then those whose hands lie farthest from the landmark network's keypoints."""
        return sorted(self.photos, key=lambda photo: -photo.distance_percent)[:count]


def real_evidence(
    predictor: Predictor,
    root: str | Path,
    *,
    steps: int = DEFAULT_STEPS,
    every: int = 1,
    progress: Callable[[str], None] = lambda what: None,
    squares: int = SQUARES,
    frames: int | None = None,
) -> Evidence:
    """The table, and every photo's hand beside the landmark network's keypoints.

    Args:
        predictor: what is measured, detection included.
        root: folder of the development data.
        steps: rounds of unmasking.
        every: use every so manieth stereo frame and held-out photo.
        progress: called with each source's name.
        squares: of photographs without a hand.
        frames: of each video; its own number if left out.

    Raises:
        InputError: the folder or a part of it is not there.

    """
    root = Path(root)
    for part in ("stereo_handpose3d", "finger_counting", "sign_digits", "real_crops", *VIDEOS):
        if not (root / part).exists():
            raise InputError(
                f"{root / part} does not exist; DATA must be the folder of development data (docs/data.md)"
            )

    def reconstructed(name: str, photos) -> PhotoSet:
        progress(name)
        return reconstruct_photos(predictor, photos, steps, name)

    progress("stereo_handpose3d")
    rows = _stereo_rows(predictor, root, steps, every)
    counting = reconstructed("finger_counting", counting_photos(root))
    rows += [found_row(counting), count_row(counting), pipeline_row(counting, root)]
    digits = reconstructed("sign_digits, held out", islice(held_out_photos(root, "sign_digits"), 0, None, every))
    rows += [found_row(digits), digit_row(digits)]
    crops = reconstructed("real_crops, held out", islice(held_out_photos(root, "real_crops"), 0, None, every))
    rows += [found_row(crops), teacher_row(predictor.reader, crops, root, every)]
    progress("photographs without a hand")
    rows.append(_false_row(predictor, squares))
    progress("videos")
    rows += video_rows(predictor, root, steps, frames)
    everything = (counting, digits, crops)
    rows += collision_rows([hand for photos in everything for hand in photos.hands])
    return Evidence(rows, [photo for photos in everything for photo in photos.results()])


def _stereo_rows(predictor: Predictor, root: Path, steps: int, every: int) -> list[Row]:
    values = stereo_errors(predictor, root / "stereo_handpose3d", steps=steps, every=every)
    number = {key: float(value) for key, value in values.items() if value is not None}
    count = int(number["frames"])
    name = "stereo_handpose3d"
    theirs, theirs_px = number["landmark_network_pa_mpjpe_mm"], number["landmark_network_reprojection_px"]
    return [
        Row(name, "PA-MPJPE, landmarks on our mesh [mm]", "less", number["landmarks_pa_mpjpe_mm"], theirs, count),
        Row(name, "PA-MPJPE, our own joints [mm]", "less", number["pa_mpjpe_mm"], theirs, count),
        Row(
            name,
            "reprojection error of the landmarks [px]",
            "less",
            number["landmarks_reprojection_px"],
            theirs_px,
            count,
        ),
    ]


def _false_row(predictor: Predictor, squares: int) -> Row:
    """Squares of photographs that show no hand (scikit-image's and scikit-learn's): how often one is found all the
    same.
    """
    require_packaged_photos()
    photos, rng = packaged_photos(), np.random.default_rng(SQUARES_SEED)
    ours = theirs = 0
    for _ in range(squares):
        photo = photos[rng.integers(len(photos))]
        size = int(rng.integers(80, min(photo.shape[:2])))
        top, left = (int(rng.integers(whole - size + 1)) for whole in photo.shape[:2])
        square = np.ascontiguousarray(photo[top : top + size, left : left + size])
        ours += bool(predictor(square))
        theirs += bool(predictor.detector.detect(square))
    measure = "squares without a hand in which one is found [%]"
    return Row("packaged photographs", measure, "less", 100 * ours / squares, 100 * theirs / squares, squares)
