"""Every hand, on whole photos: near and far together, one beside another, dark and grey, boxes as a contract."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskhand.geometry.boxes import box_around, iou
from maskhand.inference.exposure import exposed
from maskhand.io.photos import Photo, read_photo
from maskhand.synthesis.pairs import PairGenerator
from maskhand.synthesis.scenes import SceneConfig, SceneGenerator

SEED = 424_242


@pytest.mark.parametrize("scale", [0.65, 0.4])
def test_near_and_far_hands_are_found_together(predictor, demo_image, scale: float) -> None:
    height, width = demo_image.shape[:2]
    canvas = np.full((1800, 2400, 3), 128, np.uint8)
    canvas[:height, :width] = demo_image
    small = Image.fromarray(demo_image).resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    canvas[-small.height :, -small.width :] = np.asarray(small)
    hands = predictor(canvas)
    assert len(hands) == 4
    far = [hand for hand in hands if hand.box[0] > 2400 - small.width]
    near = [hand for hand in hands if hand.box[2] < width]
    assert len(far) == len(near) == 2 and {h.side for h in far} == {h.side for h in near} == {"left", "right"}


def test_each_of_two_interlocked_hands_lies_where_it_was_asked_for(predictor, hand_model) -> None:
    own, other = [], []
    for pair in PairGenerator(hand_model, "interlocked", SEED).chunk(0):
        found = predictor.reconstruct(pair.image, pair.boxes, ["right", "left"])
        assert [hand.side for hand in found] == ["right", "left"]
        for k, hand in enumerate(found):
            if pair.visible[k].mean() > 0.6:
                away = np.linalg.norm(hand.keypoints - pair.keypoints_2d, axis=2).mean(1)
                away /= np.ptp(pair.keypoints_2d[k], axis=0).max()
                own.append(away[k])
                other.append(away[1 - k])
    assert len(own) > 20 and (np.array(own) < other).all(), "none lies on the other hand"
    assert np.mean(np.array(own) < 0.25) > 0.9, np.round(np.sort(own)[-8:], 2)


def test_a_box_that_is_given_is_a_contract(predictor, hand_model) -> None:
    generator = SceneGenerator(hand_model, SceneConfig(), SEED)
    ratios, overlaps = [], []
    for sample in generator.samples(0, 400):
        size, pad = len(sample.image), 64
        photo = np.full((size + 2 * pad, size + 2 * pad, 3), 128, np.uint8)
        photo[pad:-pad, pad:-pad] = sample.image
        box = box_around((sample.keypoints_2d + 1) / 2 * size + pad)
        (hand,) = predictor.reconstruct(photo, [box], ["right"])
        own = box_around(hand.keypoints)
        ratios.append(np.sort([(own[2:] - own[:2]).max(), (box[2:] - box[:2]).max()]))
        overlaps.append(iou(box, own[None])[0])
    share = np.array(ratios)[:, 0] / np.array(ratios)[:, 1]
    assert np.min(overlaps) >= 0.2, f"{(np.array(overlaps) < 0.2).sum()} lie elsewhere"
    assert share.min() >= 0.5, f"{(share < 0.5).sum()} are of another size"


def test_a_dark_photo_gives_the_hands_of_the_bright_one(hands, predictor, demo_image) -> None:
    dark = (demo_image * 0.12).astype(np.uint8)
    found = sorted(predictor(dark), key=lambda hand: hand.box[0])
    assert [hand.side for hand in found] == [hand.side for hand in hands]
    for hand, bright in zip(found, hands, strict=True):
        size = np.ptp(bright.keypoints, axis=0).max()
        assert np.linalg.norm(hand.keypoints - bright.keypoints, axis=1).mean() < 0.04 * size


def test_only_dark_photos_are_brightened(demo_image) -> None:
    bright = read_photo(demo_image)
    assert exposed(bright) is bright
    dark = exposed(Photo((demo_image * 0.1).astype(np.uint8), 900.0, "given"))
    assert 200 <= np.percentile(dark.pixels.max(2), 99) <= 235 and exposed(dark) is dark and dark.focal_px == 900
    black = Photo(np.zeros((20, 30, 3), np.uint8), 900.0, "given")
    assert exposed(black) is black


def test_a_grey_photo_gives_the_same_hands(hands, predictor, demo_image) -> None:
    grey = np.repeat(demo_image.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    found = sorted(predictor(grey), key=lambda hand: hand.box[0])
    assert [hand.side for hand in found] == [hand.side for hand in hands]


def test_a_hand_that_one_network_does_not_see_says_so(predictor, demo_image, hands) -> None:
    assert all(hand.doubt == "" for hand in hands)
    (nothing,) = predictor.reconstruct(np.full((200, 300, 3), 128, np.uint8), [[50, 50, 150, 150]])
    assert "networks" in nothing.doubt and nothing.confidence < 0.4
    assert nothing.confidence == pytest.approx(nothing.joint_confidence.mean(), abs=1e-6)


def test_a_hand_in_a_box_is_read_whichever_way_it_is_turned(hands, predictor, demo_image) -> None:
    for turns in range(4):
        turned, xy = np.ascontiguousarray(np.rot90(demo_image, turns)), hands[0].keypoints
        for k in range(turns):
            xy = np.stack([xy[:, 1], demo_image.shape[1 - k % 2] - xy[:, 0]], 1)
        (hand,) = predictor.reconstruct(turned, [box_around(xy)])
        assert hand.side == hands[0].side and not hand.doubt
        assert np.linalg.norm(hand.keypoints - xy, axis=1).mean() < 0.05 * np.ptp(xy, axis=0).max()
