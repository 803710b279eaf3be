"""A model's predictions for a benchmark's samples, with their boxes and sides, whole or partly hidden."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from maskhand.data.sample import Sample
from maskhand.errors import InputError
from maskhand.evaluation.keypoint_sources import KeypointSource
from maskhand.evaluation.predictions import MANO_VERTICES, Predictions
from maskhand.evaluation.protocols import Protocol
from maskhand.predictor import Predictor
from maskhand.validation import LEAST_INSIDE, share_in_photo

TIPS = (4, 8, 12, 16, 20)
PATCHES = 8
"""Patches along a side of the hand's box that are hidden or not: the paper does not say how it masked."""


def centred(image: np.ndarray, principal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image padded so that the principal point (x, y) [px] is its middle, to half a pixel, and how far points
    moved.
    """
    height, width = image.shape[:2]
    low = np.array([max(0, round(width - 2 * principal[0])), max(0, round(height - 2 * principal[1]))])
    high = np.array([max(0, round(2 * principal[0] - width)), max(0, round(2 * principal[1] - height))])
    padded = np.pad(image, ((low[1], high[1]), (low[0], high[0]), (0, 0)), mode="edge") if (low + high).any() else image
    return padded, low.astype(float)


def masked(image: np.ndarray, box: np.ndarray, share: float, name: str) -> np.ndarray:
    """The image with `share` of the hand's box under grey patches, the same ones each time for a name (Table 4)."""
    rng = np.random.default_rng(list(name.encode()))
    hidden = rng.permutation(PATCHES**2)[: round(share * PATCHES**2)]
    out = image.copy()
    x, y = (np.linspace(box[k], box[k + 2], PATCHES + 1).round().astype(int).clip(0) for k in (0, 1))
    for patch in hidden:
        row, column = divmod(int(patch), PATCHES)
        out[y[row] : y[row + 1], x[column] : x[column + 1]] = 128
    return out


def predict(
    predictor: Predictor,
    samples: Iterable[Sample],
    protocol: Protocol,
    *,
    steps: int = 5,
    keypoints: KeypointSource | None = None,
    mask_share: float = 0.0,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Predictions, float]:
    """The model's predictions for samples with their boxes and sides, and the mean seconds per image without reading
    (AITI).

    A hand of which the image shows next to nothing is looked for in the whole of it.
    """
    joints, vertices, seconds = [], [], 0.0
    for sample in samples:
        image = sample.pixels()
        if mask_share:
            image = masked(image, sample.hand_box, mask_share, sample.name)
        own = None if keypoints is None else keypoints(sample, image)
        box, focal = sample.hand_box, None
        shift = np.zeros(2)
        if sample.intrinsic is not None:  # the predictor's camera looks through the image's middle
            focal = float(sample.intrinsic[0, 0])
            image, shift = centred(image, sample.intrinsic[:2, 2])
            box = box + np.tile(shift, 2)
            if own is not None:
                own = np.c_[own[:, :2] + shift, own[:, 2]]
        if share_in_photo(box[None], *image.shape[:2])[0] < LEAST_INSIDE:  # every sample needs a prediction
            box = np.array([0.0, 0.0, image.shape[1], image.shape[0]])
        began = time.perf_counter()
        try:
            hand = predictor.reconstruct(
                image,
                box[None],
                [sample.side],
                keypoints=None if own is None else own[None],
                steps=steps,
                focal_px=focal,
            )[0]
        except InputError as error:
            raise InputError(f"sample {sample.name}: {error}") from error
        seconds += time.perf_counter() - began
        points = hand.joints.copy()
        if len(hand.vertices) == MANO_VERTICES:
            points[list(TIPS)] = hand.vertices[list(protocol.tips)]
        middle = np.array(image.shape[1::-1]) / 2
        joints.append(
            points if protocol.kind == "3d" else points[:, :2] / points[:, 2:] * hand.focal_px + middle - shift
        )
        vertices.append(hand.vertices)
        progress()
    on_mano = protocol.kind == "3d" and len(vertices[0]) == MANO_VERTICES
    found = Predictions(np.stack(joints).astype(np.float64), np.stack(vertices).astype(np.float64) if on_mano else None)
    return found, seconds / len(joints)
