"""What the synthetic hand is made of: skin by tone and place on the hand, nails, sleeves, gloves, and how light falls
on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.hand_model.joint_axes import thumb_axes
from maskhand.hand_model.layer import HandModel
from maskhand.rendering.rasteriser import vertex_normals

# Skin from light to dark, sRGB.
_TONES = (
    np.array(
        [
            (255, 219, 190),
            (244, 200, 168),
            (232, 180, 140),
            (208, 150, 112),
            (172, 112, 76),
            (128, 80, 54),
            (88, 55, 40),
            (62, 40, 31),
        ]
    )
    / 255.0
)
NOISE_SIZE = 32


@dataclass(frozen=True)
class HandRegions:
    """Where things are on the rest hand; each (V,) in [0, 1]."""

    palm: np.ndarray
    nail: np.ndarray
    knuckle: np.ndarray
    tip: np.ndarray

    @classmethod
    def of(cls, model: HandModel) -> HandRegions:
        template, faces = model.template, model.faces.astype(np.int32)
        normals = vertex_normals(template, faces)
        joints, tips = model.joint_template, template[model.tips]
        weights = model.skin_weights
        palm = _smooth(-normals[:, 1], -0.2, 0.5)
        _, _, thumb_up = thumb_axes(model)
        thumb_up = thumb_up * np.sign(thumb_up @ np.array([0.0, 1.0, 1.0]))
        nail, knuckle, tip = (np.zeros(len(template)) for _ in range(3))
        for finger in range(5):
            chain = joints[1 + 3 * finger : 4 + 3 * finger]
            bone = tips[finger] - chain[2]
            length = np.linalg.norm(bone)
            bone = bone / length
            relative = template - chain[2]
            along = relative @ bone / length
            # The nail faces away from the bending side.
            up = np.array([0.0, 1.0, 0.0]) if finger < 4 else thumb_up
            up = up - (up @ bone) * bone
            up /= np.linalg.norm(up)
            own = weights[:, 3 * finger + 3] > 0.5
            nail[own] = np.maximum(nail, _smooth(normals @ up, 0.55, 0.8) * _smooth(along, 0.42, 0.5) * (along < 1.02))[
                own
            ]
            tip[own] = np.maximum(tip, _smooth(along, 0.5, 0.9))[own]
            for joint in chain[:2]:
                distance = np.linalg.norm(template - joint, axis=1)
                knuckle = np.maximum(knuckle, _smooth(-distance, -0.016, -0.008) * _smooth(normals[:, 1], 0.1, 0.6))
        return cls(*(part.astype(np.float32) for part in (palm, nail, knuckle, tip)))


def _smooth(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = ((x - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def skin_colours(regions: HandRegions, rng: np.random.Generator, *, tone: float | None = None) -> np.ndarray:
    """(V, 3) linear-light albedo of one person's hand; `tone` in [0, 1] from light to dark, drawn when None."""
    place = (rng.random() if tone is None else tone) * (len(_TONES) - 1)
    low = min(int(place), len(_TONES) - 2)
    base = _TONES[low] + (place - low) * (_TONES[low + 1] - _TONES[low])
    base = (base * rng.normal(1, 0.05) + rng.normal(0, 0.015, 3)).clip(0.05, 1) ** 2.2
    darkness = place / (len(_TONES) - 1)
    colours = np.tile(base, (len(regions.palm), 1))

    def mix(mask: np.ndarray, colour: np.ndarray, amount: float) -> None:
        nonlocal colours
        share = (amount * mask)[:, None]
        colours = colours * (1 - share) + colour * share

    light_palm = (0.75 * base + 0.25 * np.array([0.85, 0.50, 0.40])) * (1 + 0.9 * darkness)
    mix(regions.palm, light_palm.clip(0, 0.95), rng.uniform(0.5, 1.0))
    mix(regions.knuckle, base * np.array([0.80, 0.62, 0.60]), rng.uniform(0.2, 0.8))
    mix(regions.tip * (1 - regions.nail), base * np.array([1.05, 0.78, 0.74]), rng.uniform(0, 0.7))
    nail = (0.5 * base + 0.5 * np.array([0.85, 0.52, 0.48])) if rng.random() < 0.85 else rng.random(3) ** 2
    mix(regions.nail, nail, rng.uniform(0.5, 1.0))
    return colours.astype(np.float32)


def glove_colours(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.tile(rng.random(3) ** 2.2, (count, 1)).astype(np.float32)


def texture_volume() -> np.ndarray:
    """A tileable (32, 32, 32, 4) noise: three channels of colour, one of relief, in [-1, 1]."""
    rng = np.random.default_rng(7)
    total = np.zeros((NOISE_SIZE,) * 3 + (4,), np.float32)
    frequency = np.fft.fftfreq(NOISE_SIZE)
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(frequency, frequency, frequency, indexing="ij")))
    for channel in range(4):
        spectrum = np.fft.fftn(rng.normal(size=(NOISE_SIZE,) * 3)) / (radius + 0.06) ** 1.1
        spectrum[0, 0, 0] = 0
        values = np.fft.ifftn(spectrum).real
        total[..., channel] = (values / (2 * values.std())).clip(-1, 1)
    return total


@dataclass(frozen=True)
class Light:
    """A key light, sky and ground; linear-light colours; directions in the camera frame (y down)."""

    direction: np.ndarray
    """(3,) towards the light."""
    colour: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    wrap: float
    """How far light creeps past the terminator, as it does in skin."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        direction = rng.normal(size=3) + (0, -0.7, -0.9)  # from above and from the camera's side, mostly
        warmth = rng.normal(0, 0.12)
        tint = np.array([1 + warmth, 1.0, 1 - warmth])
        strength, ambient = rng.uniform(0.25, 1.5), rng.uniform(0.15, 0.8)
        sky = ambient * tint * rng.uniform(0.8, 1.2, 3)
        return cls(
            direction=(direction / np.linalg.norm(direction)).astype(np.float32),
            colour=(strength * tint).astype(np.float32),
            sky=sky.astype(np.float32),
            ground=(sky * rng.uniform(0.3, 0.9)).astype(np.float32),
            wrap=float(rng.uniform(0.1, 0.4)),
        )
