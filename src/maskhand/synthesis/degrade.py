"""What a camera and a file format do to an image: blur, exposure, white balance, noise, resampling, JPEG."""

from __future__ import annotations

import cv2
import numpy as np


def restyled(image: np.ndarray, like: np.ndarray, amount: float) -> np.ndarray:
    """An sRGB image with its colours moved towards another's mean and spread (after Reinhard et al. 2001, in RGB)."""
    mean, spread = image.mean((0, 1)), image.std((0, 1)) + 1e-3
    moved = (image - mean) / spread * like.std((0, 1)).clip(0.06) + like.mean((0, 1))
    return (image + amount * (moved - image)).clip(0, 1).astype(np.float32)


def degrade(image: np.ndarray, rng: np.random.Generator, *, low_light: bool = False) -> np.ndarray:
    """A (H, W, 3) float32 sRGB image in [0, 1] to uint8, as a phone or webcam might have kept it.

    `low_light`: underexposed, with the noise of a raised gain.
    """
    size = image.shape[0]
    if low_light:
        image = image * np.float32(rng.uniform(0.15, 0.5))
        image = image + np.float32(rng.uniform(0.02, 0.07)) * rng.standard_normal(image.shape, np.float32)
        image = image.clip(0, 1) * np.float32(rng.uniform(1.0, 2.0))
    if rng.random() < 0.25:
        image = _motion_blur(image, rng)
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.8)))
    if rng.random() < 0.3:  # a small hand in a large photo
        small = int(size * rng.uniform(0.25, 0.8))
        image = cv2.resize(
            cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA),
            (size, size),
            interpolation=cv2.INTER_LINEAR,
        )
    gain = np.float32(rng.normal(1, 0.06, 3) * rng.uniform(0.75, 1.2))
    image = (image * gain).clip(0, 1) ** np.float32(rng.uniform(0.75, 1.35))
    if rng.random() < 0.15:
        image = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1) * np.float32(rng.normal(1, 0.03, 3))
    contrast = np.float32(rng.uniform(0.75, 1.15))
    image = (image - np.float32(0.5)) * contrast + np.float32(0.5 + rng.normal(0, 0.04))
    noise = np.float32(rng.uniform(0, 0.035) if rng.random() < 0.6 else 0)
    if noise:
        image = image + noise * rng.standard_normal((size, size, 1 if rng.random() < 0.5 else 3), np.float32)
    out = (image * 255).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = int(rng.integers(25, 95))
        stored = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)
    return out


def _motion_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    centre = (length - 1) / 2
    end = (int(round(centre + np.cos(angle) * centre)), int(round(centre + np.sin(angle) * centre)))
    start = (int(round(centre - np.cos(angle) * centre)), int(round(centre - np.sin(angle) * centre)))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())
