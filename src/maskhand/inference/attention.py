"""Where the synthesizer's deformable attention samples the image (paper, Figure 16)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from maskhand.inference.hypotheses import traced_candidate
from maskhand.inference.reconstructor import Reconstructor
from maskhand.io.photos import Photo
from maskhand.types import Hand
from maskhand.validation import whole_number


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """What one layer samples for each of L tokens in the first round, in the photo [px]."""

    reference: np.ndarray
    """(L, 2) reference points."""
    samples: np.ndarray
    """(L, n, 2) sampling locations."""
    weights: np.ndarray
    """(L, n)."""


def attention_map(reconstructor: Reconstructor, photo: Photo, hand: Hand, layer: int) -> AttentionMap:
    """The sampling locations of a layer (from 1 on) of the synthesizer for a hand that was reconstructed from the photo."""
    network = reconstructor.network
    layers = network.model.synthesizer.layers
    whole_number(layer, "layer", len(layers))
    readings = reconstructor.reader.read(photo.pixels, [traced_candidate(hand)])
    attention = layers[layer - 1].deform
    recorded: list[tuple[torch.Tensor, ...]] = []
    hook = attention.register_forward_hook(
        lambda module, inputs, _: recorded.append((inputs[1], *module.sampling_locations(*inputs[:2])))
    )
    try:
        network.reconstruct(
            reconstructor.network_input(photo, readings),
            readings.keypoints,
            reconstructor.hand_model,
            fusion=reconstructor.config.fusion,
        )
    finally:
        hook.remove()
    reference, samples, weights = (x[0].cpu().numpy().astype(np.float64) for x in recorded[0])
    crop, length = hand.trace.crop, len(reference)
    return AttentionMap(
        crop.to_photo(reference), crop.to_photo(samples.reshape(-1, 2)).reshape(length, -1, 2), weights.reshape(length, -1)
    )
