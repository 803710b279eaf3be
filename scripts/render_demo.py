"""Path-trace the picture that `maskhand demo` works on: two hands of our own model in front of a wall. No photo
involved.

    pip install embreex rtree trimesh && python scripts/render_demo.py

It writes src/maskhand/assets/demo.jpg (about 90 s on two cores).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import trimesh

from maskhand.hand_model.free_hand import free_hand_data
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.geometry import forearm
from maskhand.synthesis.materials import HandRegions, skin_colours
from maskhand.synthesis.pose_prior import pose_from_angles
from maskhand.synthesis.scenes import SceneConfig, SceneGenerator

OUTPUT = Path(__file__).parents[1] / "src/maskhand/assets/demo.jpg"
WIDTH, HEIGHT, FOCAL_PX, SAMPLES = 1000, 750, 1000.0, 24
PALM_VIEW = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float)
LIGHT_CENTRE, LIGHT_SIZE, LIGHT_COLOUR = np.array([-0.45, -0.75, 0.05]), 0.35, np.array([1.0, 0.95, 0.88]) * 2.9
SKY = np.array([0.62, 0.68, 0.78]) * 0.55

# Joint angles in degrees: index, middle, little, ring as (MCP, sideways, PIP, DIP); thumb sweep, palmar, twist, MCP,
# IP.
OPEN = [8, 7, 14, 6, 4, 0, 12, 5, 10, -14, 16, 8, 7, -7, 13, 6, 4, 10, 0, 6, 4]
PINCH = [52, 2, 52, 24, 22, 0, 26, 12, 10, -9, 20, 9, 15, -4, 22, 10, 30, 40, 4, 24, 22]


def main() -> None:
    rng = np.random.default_rng(12)
    model = HandModel(free_hand_data())
    generator = SceneGenerator(model, SceneConfig(), 0)
    right = hand(model, generator, OPEN, tilt(-0.12, 0.35, 0.10), np.array([-0.098, 0.072, 0.50]), 0.30, False, rng)
    left = hand(model, generator, PINCH, tilt(0.10, -0.55, -0.05), np.array([0.100, 0.078, 0.49]), 0.72, True, rng)
    wall = plane(0.78, np.array([0.50, 0.56, 0.55]))
    image = trace([*right, *left, wall], rng)
    graded = np.clip(image / (image + 0.55) * 1.5, 0, 1) ** (1 / 2.2)
    noise = rng.normal(0, 0.006, graded.shape)
    cv2.imwrite(
        str(OUTPUT), ((graded + noise).clip(0, 1)[:, :, ::-1] * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92]
    )
    print(OUTPUT, OUTPUT.stat().st_size, "bytes")


def tilt(pitch: float, yaw: float, roll: float) -> np.ndarray:
    def turn(angle: float, i: int, j: int) -> np.ndarray:
        m = np.eye(3)
        m[i, i] = m[j, j] = np.cos(angle)
        m[i, j], m[j, i] = -np.sin(angle), np.sin(angle)
        return m

    return turn(roll, 0, 1) @ turn(pitch, 1, 2) @ turn(yaw, 2, 0) @ PALM_VIEW


def hand(model, generator, angles, turn, at, tone, left, rng):
    """A hand with its forearm, smoothed: [(vertices, faces, albedo)]."""
    pose = pose_from_angles(torch.deg2rad(torch.tensor([angles], dtype=torch.float32)), JointAxes.of(model))
    pose[0, 0] = torch.tensor(turn, dtype=torch.float32)
    vertices = model(pose, torch.zeros(1, 10)).vertices[0].numpy().astype(float) + [0, -0.02, 0]
    colours = skin_colours(HandRegions.of(model), rng, tone=tone)
    loop = generator.loop
    arm = forearm(
        vertices[loop], turn @ [1.0, 0, 0], np.eye(3), np.random.default_rng(3), colours[loop], generator.rest[loop]
    )
    # One mesh: the arm's first ring is the hand's own wrist loop, so that smoothing leaves no seam.
    count, ring = len(vertices), len(loop)
    index = np.concatenate([loop, count + np.arange(len(arm.vertices) - ring)])
    v = np.concatenate([vertices, arm.vertices[ring:]])
    c = np.concatenate([colours, arm.colours[ring:]])
    v, f, c = smooth(v, np.concatenate([generator.open_faces, index[arm.faces]]), c)
    if left:
        v, f = v * [-1, 1, 1], f[:, ::-1]
    return [(v + at, f, c)]


def smooth(vertices, faces, colours):
    fine, new_faces, attributes = trimesh.remesh.subdivide(vertices, faces, vertex_attributes={"c": colours})
    mesh = trimesh.Trimesh(fine, new_faces, process=False)
    trimesh.smoothing.filter_taubin(mesh, iterations=6)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces), attributes["c"]


def plane(z, colour):
    corners = np.array([(-3, -3, z), (3, -3, z), (3, 3, z), (-3, 3, z)], float)
    return corners, np.array([(0, 2, 1), (0, 3, 2)]), np.tile(colour, (4, 1))


def trace(parts, rng) -> np.ndarray:
    """Linear light, one bounce: soft shadows from an area light, light from the sky, colour bleeding."""
    starts = np.cumsum([0] + [len(p[0]) for p in parts[:-1]])
    vertices = np.concatenate([p[0] for p in parts])
    faces = np.concatenate([p[1] + s for p, s in zip(parts, starts, strict=True)])
    albedo = np.concatenate([p[2] for p in parts])
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    normals = np.concatenate([trimesh.Trimesh(p[0], p[1], process=False).vertex_normals for p in parts])
    skin = np.concatenate([np.full(len(p[0]), float(k < len(parts) - 1)) for k, p in enumerate(parts)])
    attributes = np.concatenate([normals, albedo, skin[:, None]], axis=1)
    total = np.zeros((HEIGHT * WIDTH, 3))
    y, x = np.divmod(np.arange(HEIGHT * WIDTH), WIDTH)
    for _ in range(SAMPLES):
        jitter = rng.random((2, len(x)))
        directions = np.stack(
            [(x + jitter[0] - WIDTH / 2) / FOCAL_PX, (y + jitter[1] - HEIGHT / 2) / FOCAL_PX, np.ones(len(x))], 1
        )
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        point, value, hit = first_hit(mesh, attributes, np.zeros_like(directions), directions)
        normal, colour = value[:, :3], value[:, 3:6]
        direct = light(mesh, point, normal, value[:, 6], rng)
        bounce = cosine_directions(normal, rng)
        far, other, struck = first_hit(mesh, attributes, point + 1e-4 * normal, bounce)
        indirect = np.tile(SKY * 1.0, (len(point), 1)) * (0.75 - 0.25 * bounce[:, 1:2])
        indirect[struck] = other[struck, 3:6] * (
            light(mesh, far[struck], other[struck, :3], other[struck, 6], rng) + 0.35 * SKY
        )
        total[hit] += (colour * (direct + indirect))[hit]
    return (total / SAMPLES).reshape(HEIGHT, WIDTH, 3)


def first_hit(mesh, attributes, origins, directions):
    """Points, interpolated attributes (unit normals first) and whether anything was hit."""
    triangle = mesh.ray.intersects_first(origins, directions)
    hit = triangle >= 0
    corners = mesh.triangles[triangle]
    plane_normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    along = ((corners[:, 0] - origins) * plane_normal).sum(1) / np.where(
        np.abs(d := (directions * plane_normal).sum(1)) < 1e-12, 1e-12, d
    )
    point = origins + directions * along[:, None]
    weights = trimesh.triangles.points_to_barycentric(corners, point)
    value = (attributes[mesh.faces[triangle]] * weights[..., None]).sum(1)
    value[:, :3] /= np.linalg.norm(value[:, :3], axis=1, keepdims=True).clip(1e-9)
    return point, value, hit


def light(mesh, point, normal, skin, rng):
    """Light that reaches a point straight from the lamp; skin lets some past the shadow's edge, red first."""
    target = LIGHT_CENTRE + (rng.random((len(point), 3)) - 0.5) * LIGHT_SIZE
    ray = target - point
    distance = np.linalg.norm(ray, axis=1, keepdims=True)
    ray /= distance
    blocked = mesh.ray.intersects_any(point + 2e-4 * normal + 1e-4 * ray, ray)
    wrap = skin[:, None] * np.array([0.28, 0.12, 0.08])
    facing = (((normal * ray).sum(1, keepdims=True) + wrap) / (1 + wrap)).clip(0)
    return LIGHT_COLOUR * facing * (~blocked[:, None]) * 0.5 / distance.clip(0.3) ** 2 * 0.55


def cosine_directions(normal, rng):
    sphere = rng.normal(size=normal.shape)
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    direction = normal + sphere * 0.999
    return direction / np.linalg.norm(direction, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
