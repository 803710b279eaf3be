"""Every benchmark in miniature."""

from __future__ import annotations

import pytest
from tests import miniature
from tests.evaluation_data import COUNT, SOLID


@pytest.fixture(scope="module")
def folders(hand_model, tmp_path_factory):
    """Their folders by name."""
    made = {}
    for name, (_, write, sides) in SOLID.items():
        made[name] = tmp_path_factory.mktemp(name)
        write(made[name], miniature.draw_scenes(hand_model, COUNT, sides))
    made["hint"] = tmp_path_factory.mktemp("hint")
    for folder in ("TEST_newdays_img", "TEST_epick_img", "TEST_ego4d_img"):
        miniature.hint(made["hint"], miniature.draw_scenes(hand_model, COUNT, miniature.BOTH), folder)
    return made
