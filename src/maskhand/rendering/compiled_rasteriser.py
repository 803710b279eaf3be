"""The rasteriser of `maskhand.rendering` in Numba, for synthetic images: a quarter of the time, at the price of Numba.

The other one draws the pictures of results, where Numba's 200 MB would be most of an installation. Both draw the same
(benchmarks/synthesis.py; tests/rendering/test_rasteriser.py).
"""

from __future__ import annotations

import numpy as np

from maskhand.jit import jit
from maskhand.rendering.rasteriser import NEAR_M, Fragments


def rasterise(points: np.ndarray, faces: np.ndarray, values: np.ndarray, size: tuple[int, int]) -> Fragments:
    """Draw triangles, as `maskhand.rendering.rasteriser.rasterise` does."""
    height, width = size
    face = np.full((height, width), -1, np.int32)
    inverse = np.zeros((height, width), np.float32)
    weights = np.zeros((height, width, 2), np.float32)
    points = np.ascontiguousarray(points, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    _draw(points, faces, face, inverse, weights)
    out = np.zeros((height, width, values.shape[1]), np.float32)
    _interpolate(points, faces, np.ascontiguousarray(values, np.float32), face, inverse, weights, out)
    with np.errstate(divide="ignore"):
        depth = np.where(face >= 0, np.float32(1) / inverse, np.float32(np.inf))
    return Fragments(face, depth, out)


@jit
def _draw(points, faces, face, inverse, weights):  # pragma: no cover (compiled code)
    height, width = face.shape
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = points[a, 2], points[b, 2], points[c, 2]
        if za < NEAR_M or zb < NEAR_M or zc < NEAR_M:
            continue
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < np.float32(1e-9):
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - np.float32(0.5))))
        right = min(width - 1, int(np.floor(max(ax, bx, cx) - np.float32(0.5))))
        top = max(0, int(np.ceil(min(ay, by, cy) - np.float32(0.5))))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy) - np.float32(0.5))))
        scale = np.float32(1) / area
        ia, ib, ic = np.float32(1) / za, np.float32(1) / zb, np.float32(1) / zc
        step_b, step_c = (cy - ay) * scale, -(by - ay) * scale
        for y in range(top, bottom + 1):
            py = np.float32(y) + np.float32(0.5) - ay
            px = np.float32(left) + np.float32(0.5) - ax
            wb = (px * (cy - ay) - py * (cx - ax)) * scale
            wc = (py * (bx - ax) - px * (by - ay)) * scale
            for x in range(left, right + 1):
                wa = np.float32(1) - wb - wc
                if wa >= 0 and wb >= 0 and wc >= 0:
                    near = wa * ia + wb * ib + wc * ic
                    if near > inverse[y, x]:
                        inverse[y, x] = near
                        face[y, x] = f
                        weights[y, x, 0] = wb
                        weights[y, x, 1] = wc
                wb += step_b
                wc += step_c


@jit
def _interpolate(points, faces, values, face, inverse, weights, out):  # pragma: no cover (compiled code)
    height, width = face.shape
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            depth = np.float32(1) / inverse[y, x]
            wb = weights[y, x, 0] * depth / points[b, 2]
            wc = weights[y, x, 1] * depth / points[c, 2]
            wa = np.float32(1) - wb - wc
            for k in range(values.shape[1]):
                out[y, x, k] = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]
