"""Where the synthesizer's deformable attention samples the image (paper, Figure 16)."""

from __future__ import annotations

import numpy as np
import torch

from maskhand.inference.hypotheses import traced_candidate
from maskhand.inference.reconstructor import Reconstructor
from maskhand.io.photos import Photo
from maskhand.model.deformable_attention import DeformableAttention
from maskhand.runtime.engine import module_of
from maskhand.runtime.reconstruction import reconstruct
from maskhand.types import AttentionMap, Hand
from maskhand.validation import whole_number


def attention_map(reconstructor: Reconstructor, photo: Photo, hand: Hand, layer: int) -> AttentionMap:
    """The sampling locations of a layer (from 1 on) of the synthesizer for a hand that was reconstructed from the
    photo.
    """
    engine = reconstructor.engine
    layers = module_of(engine).model.synthesizer.layers
    whole_number(layer, "layer", len(layers))
    readings = reconstructor.reader.read([photo.pixels], [traced_candidate(hand)])
    attention: DeformableAttention = layers[layer - 1].deform  # type: ignore[union-attr, assignment]
    recorded: list[tuple[torch.Tensor, ...]] = []
    hook = attention.register_forward_hook(
        lambda module, inputs, _: recorded.append((inputs[1], *module.sampling_locations(*inputs[:2])))
    )
    try:
        encoded = reconstructor.encode([photo.pixels], readings)
        fusion = reconstructor.config.fusion
        reconstruct(engine, encoded, readings.keypoints, reconstructor.hand_model, fusion=fusion)
    finally:
        hook.remove()
    reference, samples, weights = (x[0].cpu().numpy().astype(np.float64) for x in recorded[0])
    crop, length = hand.trace.crop, len(reference)
    return AttentionMap(
        crop.to_photo(reference),
        crop.to_photo(samples.reshape(-1, 2)).reshape(length, -1, 2),
        weights.reshape(length, -1),
    )
