"""Where deformable attention samples a photo."""

from __future__ import annotations

import numpy as np
import pytest

from maskhand import ConfigError, InputError


def test_attention_samples_the_hand_around_its_keypoints(torch_predictor, demo_image) -> None:
    predictor = torch_predictor
    hands = predictor(demo_image)
    for hand in hands:
        attention = predictor.attention(demo_image, hand)
        size = (hand.box[2:] - hand.box[:2]).max()
        nearest = np.linalg.norm(attention.reference[:, None] - hand.trace.keypoints.xy, axis=-1).min(1)
        assert len(attention.reference) == 64 and nearest.mean() < 0.15 * size
        np.testing.assert_allclose(attention.weights.reshape(64, 4, -1).sum(-1), 1, rtol=1e-4)  # by head
        far = np.linalg.norm(attention.samples - attention.reference[:, None], axis=-1)
        assert (far * attention.weights).sum() / attention.weights.sum() < size
    with pytest.raises(InputError, match="layer is 5"):
        predictor.attention(demo_image, hands[0], layer=5)


def test_exported_graphs_show_no_attention(predictor, hands, demo_image) -> None:
    with pytest.raises(ConfigError, match="backend='torch'"):
        predictor.attention(demo_image, hands[0])
