"""What else a hand may be: poses drawn from what the model believes, ranked (paper, Appendix O)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from maskhand.geometry.alignment import align_similarity
from maskhand.inference.candidates import Candidate
from maskhand.inference.reconstructor import Reconstructor
from maskhand.io.photos import Photo
from maskhand.model.unmasking import Sampling
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
    network, hand_model = reconstructor.network, reconstructor.hand_model
    candidate = traced_candidate(hand)
    readings = reconstructor.reader.read(photo.pixels, [candidate])
    image = reconstructor.network_input(photo, readings)
    generator = torch.Generator(network.device).manual_seed(seed)
    drawn: list[Hand] = []
    while len(drawn) < count:
        prediction = network.reconstruct(
            image,
            readings.keypoints,
            hand_model,
            steps=steps,
            sampling=Sampling(temperature=1.0),
            generator=generator,
            fusion=reconstructor.config.fusion,
            draws=min(count - len(drawn), DRAWN_AT_ONCE),
        )
        rows = len(prediction.pose)
        of_one = reconstructor.as_readings([candidate] * rows, [candidate.crop] * rows, prediction)
        drawn += reconstructor.lift(photo, of_one)
    joints = torch.stack([torch.from_numpy(other.joints) for other in drawn])
    return [drawn[k] for k in mean_pairwise_distance(joints).argsort().tolist()]


def traced_candidate(hand: Hand) -> Candidate:
    """The candidate that a hand was made from."""
    return Candidate(hand.trace.detection, hand.trace.crop)


@torch.inference_mode()
def mean_pairwise_distance(keypoints: Float[Tensor, "N 21 3"]) -> Float[Tensor, " N"]:
    """Mean distance [m] of each of several poses of one hand to the others, aligned; of many, to the first
    `COMPARED`.
    """
    others = keypoints[:COMPARED]
    distances = []
    for own in keypoints.split(COMPARED):
        pairs = own[:, None].expand(-1, len(others), -1, -1).flatten(0, 1)
        aligned = align_similarity(others.repeat(len(own), 1, 1), pairs)
        distances.append((aligned - pairs).norm(dim=-1).mean(1).unflatten(0, (len(own), -1)).mean(1))
    return torch.cat(distances)
