"""Pictures of results."""

from __future__ import annotations

import numpy as np

from maskhand.rendering.overlay import draw_result


def test_all_hands_of_a_crowd_are_shown_from_another_side(hands) -> None:
    wide = np.zeros((100, 2000, 3), np.uint8)
    few, many = draw_result(wide, hands[:1] * 2), draw_result(wide, hands[:1] * 14)
    below = many[-100:, -100:]
    assert many.shape[0] == 3 * 120 and many.shape[1] - few.shape[1] == (5 - 1) * 120
    assert below.std() < 20 < many[-220:-120, -220:-20].std(), "14 of 15 places are taken"


def test_the_picture_shows_photo_overlay_and_another_view(hands, demo_image) -> None:
    picture = draw_result(demo_image, hands)
    assert picture.dtype == np.uint8 and picture.shape[1] > 2 * picture.shape[0]
    one = draw_result(demo_image[:, :500], hands[:1])
    assert one.shape[2] == 3
    assert draw_result(demo_image, []).shape[1] == 2 * round(demo_image.shape[1] * min(1, 720 / demo_image.shape[0]))
