"""Shapes around the hand: a forearm that grows out of the wrist, and simple objects to hold or to hide behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Part:
    """A piece of the scene in the camera's frame [m]: one row per vertex."""

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    place: np.ndarray
    """Where each vertex lies in its own texture [m]."""
    skin: float = 1.0


def forearm(
    loop: np.ndarray,
    axis: np.ndarray,
    bend: np.ndarray,
    rng: np.random.Generator,
    colours: np.ndarray,
    place: np.ndarray,
) -> Part:
    """A tube from the wrist's loop (20, 3) along `axis`, turning by the rotation `bend` over the first centimetres.

    Sleeved from some point on in half of the cases: wider, in a colour of its own.
    """
    centre = loop.mean(0)
    offsets = loop - centre
    lengths = np.array([0.0, 0.012, 0.028, 0.048, 0.075, 0.12, 0.18, 0.26])
    vector, angle = _rotation_vector(bend)
    sleeve_from = int(rng.integers(2, 6)) if rng.random() < 0.5 else 99
    sleeve_colour = (rng.random(3) * rng.uniform(0.2, 1.0)) ** 2.2
    sleeve_width = rng.uniform(1.12, 1.45)
    growth = rng.uniform(0.15, 0.5)
    rings, shades, places, position = [], [], [], centre
    for k, length in enumerate(lengths):
        turn = _rodrigues(vector, angle * min(1.0, length / 0.05))
        if k:
            position = position + turn @ axis * (length - lengths[k - 1])
        sleeved = k >= sleeve_from
        width = (1 + growth * length / 0.26) * (sleeve_width if sleeved else 1.0)
        rings.append(position + (offsets * width) @ turn.T)
        shades.append(np.tile(sleeve_colour, (len(loop), 1)) if sleeved else colours)
        places.append(place + np.array([length, 0, 0]))
    count = len(loop)
    faces = []
    for k in range(len(lengths) - 1):
        for i in range(count):
            a, b = k * count + i, k * count + (i + 1) % count
            faces += [(a, a + count, b), (b, a + count, b + count)]
    return Part(np.concatenate(rings), np.array(faces, np.int32), np.concatenate(shades), np.concatenate(places))


def ring(start: np.ndarray, end: np.ndarray, rng: np.random.Generator) -> Part:
    """A finger ring around the bone from `start` to `end` [m]."""
    bone = (end - start) / np.linalg.norm(end - start)
    across = np.cross(bone, (1.0, 0, 0) if abs(bone[0]) < 0.9 else (0, 1.0, 0))
    across /= np.linalg.norm(across)
    up = np.cross(bone, across)
    around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    profile = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    radius, thick, wide = rng.uniform(0.0088, 0.0102), rng.uniform(0.0006, 0.0014), rng.uniform(0.001, 0.004)
    out = np.cos(around)[:, None] * across + np.sin(around)[:, None] * up  # (20, 3)
    points = (radius + thick * np.cos(profile))[None, :, None] * out[:, None] + (wide * np.sin(profile))[
        None, :, None
    ] * bone
    vertices = start + rng.uniform(0.3, 0.65) * (end - start) + points.reshape(-1, 3)
    faces = []
    for k in range(20):
        for j in range(6):
            a, b = 6 * k + j, 6 * ((k + 1) % 20) + j
            c, d = 6 * k + (j + 1) % 6, 6 * ((k + 1) % 20) + (j + 1) % 6
            faces += [(a, b, c), (b, d, c)]
    metal = np.array(((0.83, 0.62, 0.25), (0.75, 0.75, 0.77), (0.05, 0.05, 0.06))[rng.integers(3)])
    return Part(vertices, np.array(faces, np.int32), np.tile(metal, (len(vertices), 1)), vertices - start, skin=0.0)


def primitive(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A box, cylinder or ellipsoid of about `size` metres across, turned at random: vertices and faces."""
    kind = rng.integers(3)
    rows, columns = 9, 16
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], -1)
    if kind == 1:  # cylinder: push the sphere's rows out to the wall
        radial = np.linalg.norm(points[..., [0, 2]], axis=-1, keepdims=True).clip(1e-6)
        points[1:-1, :, 0:1] /= radial[1:-1]
        points[1:-1, :, 2:3] /= radial[1:-1]
        points[..., 1] = np.sign(points[..., 1]) * np.abs(points[..., 1]) ** 0.3
    elif kind == 2:  # box: the sphere in the maximum norm, nearly
        points = np.sign(points) * np.abs(points) ** 0.25
    scale = np.array([1.0, rng.uniform(1, 4), rng.uniform(0.7, 1.3)]) * size / 2
    q = rng.normal(size=3)
    turn = _rodrigues(q / np.linalg.norm(q), rng.uniform(0, np.pi))
    faces = []
    for r in range(rows - 1):
        for c in range(columns):
            a, b = r * columns + c, r * columns + (c + 1) % columns
            faces += [(a, b, a + columns), (b, b + columns, a + columns)]
    return (points.reshape(-1, 3) * scale) @ turn.T, np.array(faces, np.int32)


def _rotation_vector(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    angle = float(np.arccos(((np.trace(matrix) - 1) / 2).clip(-1, 1)))
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    norm = np.linalg.norm(axis)
    return (axis / norm if norm > 1e-9 else np.array([1.0, 0, 0])), angle


def _rodrigues(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
