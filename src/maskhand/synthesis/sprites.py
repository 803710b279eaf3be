"""Synthetic hands cut out of their scene, forearm and held thing included, for the hand detector's training photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import cv2
import numpy as np
import torch

from maskhand.geometry.crop import CropConfig, crop_around
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.backgrounds import packaged_photos
from maskhand.synthesis.cutouts import (
    CUTOUT_PX,
    FLESH,
    Cutout,
    CutoutHand,
    PackedCutout,
    direction_of,
    outline_of,
    packed,
)
from maskhand.synthesis.materials import Light
from maskhand.synthesis.pairs import PAIR_KINDS, PairGenerator
from maskhand.synthesis.scenes import SceneConfig, SceneGenerator
from maskhand.synthesis.views import draw_camera

SPRITE_PX = 240
SPRITE_SCENES = SceneConfig(
    size=SPRITE_PX,
    upright=False,
    object_share=0.45,
    other_hand_share=0.0,  # it would have no box
    ring_share=0.1,
    low_light_share=0.05,
    style_share=0.2,
    glove_share=0.35,
    carton_share=0.2,
)


class SpriteGenerator(SceneGenerator):
    """Draws hands on nothing. Sample k of a seed is always the same."""

    def __init__(self, model: HandModel, seed: int, config: SceneConfig = SPRITE_SCENES) -> None:
        super().__init__(model, config, seed)

    def _sample(
        self, pose: np.ndarray, shape: np.ndarray, vertices: np.ndarray, keypoints: np.ndarray, rng: np.random.Generator
    ) -> Cutout:
        focal, distance = draw_camera(keypoints[0], rng)
        wrist = np.array([0, 0, distance]) - keypoints[0].mean(0)
        points = keypoints[0] + wrist
        flat = focal * points[:, :2] / points[:, 2:]
        wide = CropConfig(upright=False, box_factor=rng.uniform(1.3, 2.4))
        crop = crop_around(flat * 1000, mirrored=False, config=wide)
        centre, side = np.array(crop.centre) / 1000, crop.side / 1000
        light = Light.draw(rng)
        parts = self._parts(vertices, keypoints, wrist, pose[0], light, rng)
        image, fragments = self.renderer.render(parts, points, focal, centre, side, light, rng)
        size = self.config.size
        alpha = cv2.resize((fragments.face >= 0).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        seen = self._photographed(small ** np.float32(1 / 2.2), rng)

        def in_picture(places: np.ndarray) -> np.ndarray:
            return (((focal * places[:, :2] / places[:, 2:]) - centre) * 2 / side + 1) / 2 * size

        hand = CutoutHand(outline_of(in_picture(vertices[0] + wrist)), 1.0, direction_of(in_picture(points)))
        return Cutout(np.dstack([seen, (255 * alpha).astype(np.uint8)]), (hand,))


def synthetic_cutouts(
    seed: int, chunks: int, workers: int, progress: Callable[[], None] = lambda: None
) -> Iterator[PackedCutout]:
    """Those of so many chunks of 16, drawn by several processes, and the packaged photos without people."""
    yield from (packed(Cutout(photo, ())) for photo in packaged_photos())
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn")) as pool:
        for drawn in pool.map(_chunk, [seed] * chunks, range(chunks)):
            yield from drawn
            progress()


def synthetic_pairs(seed: int, chunks: int, progress: Callable[[], None] = lambda: None) -> Iterator[PackedCutout]:
    """Photos of a right and a left hand, crossed, clasped, from the back, so many chunks of 16 of each kind."""
    model = HandModel(free_hand_data())
    for kind in PAIR_KINDS:
        generator = PairGenerator(model, kind, seed, CUTOUT_PX)
        for index in range(chunks):
            for pair in generator.chunk(index):
                hands = tuple(_of_pair(own, right) for own, right in zip(pair.keypoints_2d, (1.0, 0.0), strict=True))
                yield packed(Cutout(pair.image, hands))
            progress()


def _of_pair(points: np.ndarray, right: float) -> CutoutHand:
    size = float(np.ptp(points, axis=0).max())
    return CutoutHand(outline_of(points, FLESH * size), right, direction_of(points))


@cache
def _generator(seed: int) -> SpriteGenerator:
    torch.set_num_threads(1)
    return SpriteGenerator(HandModel(free_hand_data()), seed)


def _chunk(seed: int, index: int) -> list[PackedCutout]:
    return [packed(cutout) for cutout in _generator(seed).chunk(index)]
