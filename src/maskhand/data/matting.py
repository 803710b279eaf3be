"""Hands cut out of photos with a plain background, to be put before others (this project's own augmentation)."""

from __future__ import annotations

import cv2
import numpy as np

_ROUNDS = 4


def matte(photo: np.ndarray) -> np.ndarray:
    """How much of each pixel is the hand. (H, W, 3) uint8 RGB with one plain background -> (H, W) float32 in [0, 1]

    What differs from the colour along the upper edges starts GrabCut; its largest piece is kept. All 0 where nothing
    differs.
    """
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB).astype(np.float32)
    height = len(lab)
    edge = max(2, height // 14)
    rim = [lab[:edge], lab[: height // 2, :edge], lab[: height // 2, -edge:]]  # a hand comes in from below
    border = np.concatenate([part.reshape(-1, 3) for part in rim])
    colour = np.median(border, axis=0)
    spread = 1.5 * np.median(np.abs(border - colour), axis=0) + 4
    distance = np.linalg.norm((lab - colour) / spread, axis=-1)
    _, differs = cv2.threshold((10 * distance.clip(0, 25)).astype(np.uint8), 0, 1, cv2.THRESH_OTSU)
    mask = np.where(differs > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    if (mask == cv2.GC_PR_FGD).all() or (mask == cv2.GC_PR_BGD).all():
        return np.zeros(mask.shape, np.float32)
    cv2.grabCut(
        np.ascontiguousarray(photo), mask, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK
    )  # type: ignore[call-overload]
    hand = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    count, pieces, measures, _ = cv2.connectedComponentsWithStats(hand.astype(np.uint8))
    if count < 2:
        return np.zeros(mask.shape, np.float32)
    largest = (pieces == 1 + measures[1:, cv2.CC_STAT_AREA].argmax()).astype(np.float32)
    # A little inside its edge, where the old background no longer shines through.
    return ((cv2.GaussianBlur(largest, (0, 0), 1.0) - 0.4) / 0.5).clip(0, 1)


def put_before(image: np.ndarray, share: np.ndarray, background: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) uint8 where `share` (S, S) is 1, `background` (S, S, 3) in [0, 1] where it is 0."""
    share = share[..., None]
    return (image * share + 255 * background * (1 - share)).astype(np.uint8)
