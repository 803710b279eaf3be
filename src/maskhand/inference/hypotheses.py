"""What else a hand may be: poses drawn from what the model believes, ranked (paper, Appendix O)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.arrays import Array, namespace
from maskhand.inference.candidates import Candidate
from maskhand.inference.exposure import exposed
from maskhand.inference.reconstructor import Reconstructor
from maskhand.io.photos import ImageSource, Photo, read_photo
from maskhand.model.unmasking import Sampling
from maskhand.runtime.reconstruction import reconstruct
from maskhand.types import Hand

DRAWN_AT_ONCE = 64
"""Each holds the distributions of its tokens, half a megabyte."""
COMPARED = 64
"""Hypotheses that each is compared with to rank them."""


def draw_hypotheses(
    reconstructor: Reconstructor, photo: Photo, hand: Hand, count: int, *, steps: int, seed: int
) -> list[Hand]:
    """`count` poses of a hand that was reconstructed from the photo, the one that most others lie near to first.

    Args:
        reconstructor: the hand's own.
        photo: the same.
        hand: with its trace.
        count: how many.
        steps: rounds of unmasking; with one, tokens are drawn regardless of each other.
        seed: which.

    """
    hand_model, rng = reconstructor.hand_model, np.random.default_rng(seed)
    candidate = traced_candidate(hand)
    readings = reconstructor.reader.read([photo.pixels], [candidate])
    encoded = reconstructor.encode([photo.pixels], readings)
    drawn: list[Hand] = []
    while len(drawn) < count:
        rows = min(count - len(drawn), DRAWN_AT_ONCE)
        prediction = reconstruct(
            reconstructor.engine,
            encoded,
            readings.keypoints,
            hand_model,
            steps=steps,
            sampling=Sampling(temperature=1.0),
            rng=rng,
            fusion=reconstructor.config.fusion,
            draws=rows,
        )
        of_one = reconstructor.as_readings([candidate] * rows, [candidate.crop] * rows, prediction)
        drawn += reconstructor.lift([photo], [of_one])[0]
    joints = np.stack([other.joints for other in drawn])
    return [drawn[k] for k in mean_pairwise_distance(joints).argsort().tolist()]


def traced_photo(image: ImageSource, hand: Hand) -> Photo:
    """The photo as it was read when the hand was reconstructed."""
    return exposed(replace(read_photo(image, focal_px=hand.focal_px), focal_source=hand.trace.focal_source))


def traced_candidate(hand: Hand) -> Candidate:
    """The candidate that a hand was made from."""
    return Candidate(hand.trace.detection, hand.trace.crop)


def mean_pairwise_distance(keypoints: Float[Array, "N 21 3"]) -> Float[Array, " N"]:
    """Mean distance [m] of each of several poses of one hand to the others, aligned; of many, to the first
    `COMPARED`.
    """
    xp, others = namespace(keypoints), keypoints[:COMPARED]
    distances = []
    for own in keypoints:
        target = own[None] + xp.zeros_like(others)
        off = xp.linalg.vector_norm(align_similarity(others, target) - target, axis=-1)
        distances.append(xp.mean(off))
    return xp.stack(distances)
