"""Light on what the rasteriser drew: skin-like shading per pixel, soft shadows between fingers per vertex."""

from __future__ import annotations

import numpy as np

from maskhand.jit import jit


@jit
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


@jit
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
