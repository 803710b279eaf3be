"""Images made while training."""

from __future__ import annotations

from maskhand.data.live import WINDOW_STEPS, live_batches
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.synthesis.scenes import CHUNK, SceneConfig


def test_live_images_that_come_again_are_drawn_from_a_window_that_moves_on() -> None:
    live = {"seed": 3, "batch": 2 * CHUNK, "workers": 0, "repeats": 2}
    chosen = SceneConfig(size=32)
    batches = [
        batch["shape"][:, 0].tolist() for batch in live_batches(free_hand_data(), chosen, steps=range(6), **live)
    ]
    alone = next(live_batches(free_hand_data(), chosen, steps=[5], **live))["shape"][:, 0].tolist()
    assert alone == batches[5], "a batch goes by its number"
    assert all(len(set(batch)) == 2 * CHUNK for batch in batches), "no image twice in one batch"
    images = live_batches(free_hand_data(), chosen, seed=3, batch=CHUNK, steps=range(WINDOW_STEPS + 5), workers=0)
    by_number = [float(x) for batch in images for x in batch["shape"][:, 0]]
    for step, batch in enumerate(batches):
        assert set(batch) <= set(by_number[step * CHUNK : (step + WINDOW_STEPS) * CHUNK])
    assert len({x for batch in batches for x in batch}) > 5 * CHUNK, "from all over the window"
