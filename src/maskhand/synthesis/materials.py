"""What the synthetic hand is made of: skin by tone and place on the hand, nails, sleeves, gloves, and how light falls on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskhand.hand_model.axes import thumb_axes
from maskhand.hand_model.layer import HandModel
from maskhand.rendering.rasteriser import compiled, vertex_normals

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
        template, faces = model.template.numpy(), model.faces.numpy().astype(np.int32)
        normals = vertex_normals(template, faces)
        joints, tips = model.joint_template.numpy(), template[model.tips.numpy()]
        weights = model.skin_weights.numpy()
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
            nail[own] = np.maximum(nail, _smooth(normals @ up, 0.55, 0.8) * _smooth(along, 0.42, 0.5) * (along < 1.02))[own]
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


@compiled
def shade(face, values, volume, direction, colour, sky, ground, wrap, gloss, detail, out):  # pragma: no cover
    """Light every covered pixel into `out` (H, W, 3), linear.

    values: normal 3, albedo 3, openness 1 (ambient), sunlight 1 (shadow), texture place 3 [noise cells], skin 1.
    """
    height, width = face.shape
    size = volume.shape[0]
    for y in range(height):
        for x in range(width):
            if face[y, x] < 0:
                continue
            v = values[y, x]
            i, j, k = int(v[8]) % size, int(v[9]) % size, int(v[10]) % size
            i2, j2, k2 = int(v[8] * 3.7) % size, int(v[9] * 3.7) % size, int(v[10] * 3.7) % size
            relief = volume[i, j, k, 3] + volume[i2, j2, k2, 3]
            nx = v[0] + detail * volume[i2, j2, k2, 0]
            ny = v[1] + detail * volume[i2, j2, k2, 1]
            nz = v[2] + detail * volume[i2, j2, k2, 2]
            norm = np.float32(1) / max(np.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-6))
            nx, ny, nz = nx * norm, ny * norm, nz * norm
            if nz > 0:  # seen from inside, or interpolated past the edge: face the camera
                nz = -nz * np.float32(0.3)
            facing = nx * direction[0] + ny * direction[1] + nz * direction[2]
            hx, hy, hz = direction[0], direction[1], direction[2] - np.float32(1)
            hn = np.float32(1) / max(np.sqrt(hx * hx + hy * hy + hz * hz), np.float32(1e-3))
            half = max((nx * hx + ny * hy + nz * hz) * hn, np.float32(0))
            half2 = half * half
            half8 = half2 * half2 * half2 * half2
            gleam = gloss * half8 * half8 * v[7]
            up = np.float32(0.5) - np.float32(0.5) * ny
            for c in range(3):
                creep = wrap * (np.float32(1.6) if c == 0 else np.float32(0.8)) * v[11]
                diffuse = max((facing + creep) / (np.float32(1) + creep), np.float32(0))
                diffuse *= v[7] + (np.float32(1) - v[7]) * np.float32(0.12) * creep
                ambient = (sky[c] * up + ground[c] * (np.float32(1) - up)) * v[6]
                albedo = v[3 + c] * (np.float32(1) + np.float32(0.16) * volume[i, j, k, c] + np.float32(0.07) * relief)
                out[y, x, c] = albedo * (ambient + colour[c] * diffuse) + gleam * colour[c]


@compiled
def cast_shadows(vertices, normals, starts, ends, radii, own, direction, light, openness):  # pragma: no cover
    """Soft shadows and ambient occlusion per vertex, from capsules along the bones.

    own: (V,) capsule a vertex belongs to (it and its neighbours cast nothing on it); direction towards the light;
    `light` and `openness` (V,) are multiplied down from one.
    """
    for v in range(len(vertices)):
        for c in range(len(starts)):
            if (own[v] >= 15 and c >= 15) or (abs(own[v] - c) <= 1 and own[v] // 3 == c // 3):
                continue
            px, py, pz = vertices[v, 0] - starts[c, 0], vertices[v, 1] - starts[c, 1], vertices[v, 2] - starts[c, 2]
            dx, dy, dz = ends[c, 0] - starts[c, 0], ends[c, 1] - starts[c, 1], ends[c, 2] - starts[c, 2]
            square = dx * dx + dy * dy + dz * dz
            t = min(max((px * dx + py * dy + pz * dz) / square, np.float32(0)), np.float32(1))
            qx, qy, qz = t * dx - px, t * dy - py, t * dz - pz  # from the vertex to the nearest point of the bone
            distance = np.sqrt(qx * qx + qy * qy + qz * qz)
            seen = (qx * normals[v, 0] + qy * normals[v, 1] + qz * normals[v, 2]) / max(distance, np.float32(1e-5))
            if seen > 0 and distance < 5 * radii[c]:
                share = radii[c] / max(distance, radii[c])
                openness[v] *= np.float32(1) - np.float32(0.75) * share * share * seen
            # Ray to the light against the capsule: nearest approach of two lines.
            b = dx * direction[0] + dy * direction[1] + dz * direction[2]
            d = px * dx + py * dy + pz * dz
            e = px * direction[0] + py * direction[1] + pz * direction[2]
            below = square - b * b
            if below < np.float32(1e-9):
                continue
            s = (b * d - square * e) / below  # along the ray
            if s < np.float32(0.004):
                continue
            u = min(max((d + b * s) / square, np.float32(0)), np.float32(1))
            gx, gy, gz = px + s * direction[0] - u * dx, py + s * direction[1] - u * dy, pz + s * direction[2] - u * dz
            gap = np.sqrt(gx * gx + gy * gy + gz * gz)
            penumbra = np.float32(0.003) + np.float32(0.12) * s
            shadow = min(max((radii[c] + np.float32(0.5) * penumbra - gap) / penumbra, np.float32(0)), np.float32(1))
            light[v] *= np.float32(1) - np.float32(0.9) * shadow
