"""A z-buffer rasteriser in NumPy: no GL, no GPU. Triangles in, depth, face ids and interpolated attributes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR_M = 0.02
CHUNK = 256
"""Triangles drawn at a time."""


@dataclass(frozen=True)
class Fragments:
    """What each pixel sees. Arrays are (H, W, ...); pixels that see nothing have face -1."""

    face: np.ndarray
    """int32 index of the nearest triangle."""
    depth: np.ndarray
    """float32 z [m]; infinity where nothing is."""
    values: np.ndarray
    """(H, W, C) float32 vertex attributes, interpolated with perspective."""


def rasterise(points: np.ndarray, faces: np.ndarray, values: np.ndarray, size: tuple[int, int]) -> Fragments:
    """Draw triangles.

    Args:
        points: (V, 3); x, y in pixels (the centre of the top left pixel is 0.5, 0.5), z in metres.
        faces: (F, 3). Triangles with a vertex nearer than 2 cm are dropped; winding does not matter.
        values: (V, C) attributes per vertex.
        size: height and width in pixels.

    """
    height, width = size
    corners = np.asarray(points, np.float64)[faces]  # (F, 3, 3)
    drawn = np.flatnonzero((corners[..., 2] >= NEAR_M).all(1))
    slopes, offsets, drawn = _barycentric(corners, drawn)
    inverse_z = 1 / corners[drawn, :, 2]
    # One over depth is linear in the picture.
    across, down = np.einsum("fkc,fk->cf", slopes, inverse_z).astype(np.float32)
    constant = np.einsum("fk,fk->f", offsets, inverse_z).astype(np.float32)
    nearest, owner = np.zeros(height * width, np.float32), np.full(height * width, -1, np.int32)
    for begin in range(0, len(drawn), CHUNK):  # some triangles at a time: each lists its pixels
        some = slice(begin, begin + CHUNK)
        triangle, row, column = _covered(corners[drawn[some]], slopes[some], offsets[some], size)
        triangle += begin
        pixel = row * width + column
        x, y = column.astype(np.float32) + np.float32(0.5), row.astype(np.float32) + np.float32(0.5)
        near = across[triangle] * x + (down[triangle] * y + constant[triangle])
        nearer = np.flatnonzero(near > nearest[pixel])
        triangle, pixel, near = triangle[nearer], pixel[nearer], near[nearer]
        np.maximum.at(nearest, pixel, near)
        won = np.flatnonzero(near >= nearest[pixel])[::-1]  # of equal ones the first triangle, which is written last
        owner[pixel[won]] = triangle[won]
    seen = np.flatnonzero(owner >= 0)
    of_seen = owner[seen]
    place = np.stack([seen % width, seen // width], 1) + 0.5
    shares = np.einsum("nkc,nc->nk", slopes[of_seen], place) + offsets[of_seen]
    shares *= inverse_z[of_seen] / nearest[seen, None]
    out = np.zeros((height * width, values.shape[1]), np.float32)
    of_corners = np.asarray(values, np.float32)[faces[drawn[of_seen]].T]  # (3, n, C)
    out[seen] = sum(share[:, None] * own for share, own in zip(shares.T.astype(np.float32), of_corners, strict=True))
    face = np.full(height * width, -1, np.int32)
    face[seen] = drawn[of_seen]
    with np.errstate(divide="ignore"):
        depth = np.where(owner >= 0, np.float32(1) / nearest, np.float32(np.inf))
    return Fragments(face.reshape(size), depth.reshape(size), out.reshape(height, width, -1))


def _barycentric(corners: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes (F, 3, 2) and offsets (F, 3) of the three shares as functions of x and y, of those drawn that have an
    area.
    """
    xy = corners[drawn, :, :2]
    following, last = np.roll(xy, -1, 1), np.roll(xy, -2, 1)
    edge = last - following
    normal = np.stack([-edge[..., 1], edge[..., 0]], -1)  # across the edge opposite each corner
    area = np.einsum("fc,fc->f", normal[:, 0], xy[:, 0] - following[:, 0])
    kept = np.abs(area) >= 1e-9
    slopes = normal[kept] / area[kept, None, None]
    return slopes, -np.einsum("fkc,fkc->fk", slopes, following[kept]), drawn[kept]


def _covered(
    corners: np.ndarray, slopes: np.ndarray, offsets: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangle, row and column of every pixel whose centre a triangle covers, triangle by triangle."""
    top = np.ceil(corners[..., 1].min(1) - 0.5).clip(0).astype(np.int64)
    bottom = np.floor(corners[..., 1].max(1) - 0.5).clip(None, size[0] - 1).astype(np.int64)
    triangle, row = _ranges(top, bottom)
    # In each row a share is at least 0 on one side of one column.
    left, right = np.full(len(row), -np.inf), np.full(len(row), np.inf)
    for corner in range(3):
        slope = slopes[triangle, corner, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            edge = -(slopes[triangle, corner, 1] * (row + 0.5) + offsets[triangle, corner]) / slope
        left = np.where(slope > 0, np.maximum(left, edge), left)
        right = np.where(slope < 0, np.minimum(right, edge), right)
    first = np.ceil(left.clip(0, size[1]) - 0.5 - 1e-7).clip(0).astype(np.int64)
    last = np.floor(right.clip(-1, size[1]) - 0.5 + 1e-7).clip(None, size[1] - 1).astype(np.int64)
    span, column = _ranges(first, last)
    return triangle[span], row[span], column


def _ranges(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All whole numbers from each `first` to its `last`: which range each is of, and the number."""
    count = (last - first + 1).clip(0)
    owner = np.repeat(np.arange(len(first)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - np.repeat(before - first, count)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3), outwards for counter-clockwise faces."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    of_faces = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(axis, 3), len(vertices)) for axis in of_faces.T], 1
    ).astype(vertices.dtype)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
