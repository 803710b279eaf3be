"""A scene's parts as an image: rasterised, shadowed, shaded, before a background."""

from __future__ import annotations

import cv2
import numpy as np

from maskhand.hand_model.collision import FINGER_BONES, FINGER_RADII_M, KNUCKLES
from maskhand.hand_model.layer import HandModel
from maskhand.rendering.compiled_rasteriser import rasterise
from maskhand.rendering.rasteriser import Fragments, vertex_normals
from maskhand.rendering.shading import cast_shadows, shade
from maskhand.synthesis.backgrounds import background
from maskhand.synthesis.geometry import Part
from maskhand.synthesis.materials import Light, texture_volume

OVERSAMPLING = 1.5
"""Pixels rendered per pixel kept, along each side."""
# Bones that cast shadows: 15 finger bones in the order of the keypoints, then four in the palm.
_CASTERS = np.array(FINGER_BONES + [(0, knuckle) for knuckle in KNUCKLES])
_CASTER_RADII = np.array([*FINGER_RADII_M, *[0.010] * 4], np.float32)
_MODEL_FINGER_TO_KEYPOINTS = (1, 2, 4, 3, 0)


class SceneRenderer:
    """Renders scenes of one hand model.

    Args:
        model: the hand.
        size: side of the image that is kept [px].
        backgrounds: a folder of photographs to use beside the packaged ones.

    """

    def __init__(self, model: HandModel, size: int, backgrounds: str | None = None) -> None:
        self.size, self.canvas, self.backgrounds = size, int(size * OVERSAMPLING), backgrounds
        self.volume = texture_volume()
        faces = model.faces.astype(np.int32)
        self.loop = wrist_loop(faces, model)
        self.open_faces = faces[~np.isin(faces, self.loop).all(1)]  # the forearm takes the place of the wrist's cap
        own = model.skin_weights.argmax(1)
        bone = np.array([15] + [3 * _MODEL_FINGER_TO_KEYPOINTS[(j - 1) // 3] + (j - 1) % 3 for j in range(1, 16)])
        self.own = bone[own].astype(np.int64)

    def render(
        self,
        parts: list[Part],
        keypoints: np.ndarray,
        focal: float,
        centre: np.ndarray,
        side: float,
        light: Light,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, Fragments]:
        """The crop, linear light in [0, 1], at `canvas` pixels a side, and what each pixel shows.

        Args:
            parts: the hand, its forearm, then everything else, in the camera's frame [m].
            keypoints: (21, 3) the hand's, in the same frame.
            focal: focal length, image plane units.
            centre, side: of the crop on the image plane.
            light: of the scene.
            rng: chance.

        """
        canvas = self.canvas
        vertices = np.concatenate([p.vertices for p in parts]).astype(np.float32)
        starts = np.cumsum([0] + [len(p.vertices) for p in parts[:-1]])
        faces = np.concatenate([p.faces + s for p, s in zip(parts, starts, strict=True)]).astype(np.int32)
        normals = vertex_normals(vertices, faces)
        arm = slice(starts[1], starts[1] + len(self.loop))  # the forearm's first ring continues the hand's surface
        normals[self.loop] = normals[arm] = (normals[self.loop] + normals[arm]) / 2
        openness, sun = self._occlusion(keypoints.astype(np.float32), vertices, normals, light)
        place = np.concatenate([p.place for p in parts]) * rng.uniform(500, 1100) + 1000
        skin = np.concatenate([np.full(len(p.vertices), p.skin) for p in parts])
        colours = np.concatenate([p.colours for p in parts])
        values = np.concatenate(
            [normals, colours, openness[:, None], sun[:, None], place, skin[:, None]], axis=1
        ).astype(np.float32)
        flat = (focal * vertices[:, :2] / vertices[:, 2:].clip(1e-3) - centre) * (2 / side)
        pixels = np.concatenate([(flat + 1) / 2 * canvas, vertices[:, 2:]], axis=1).astype(np.float32)
        fragments = rasterise(pixels, faces, values, (canvas, canvas))
        behind = background(self.size, rng, self.backgrounds) ** np.float32(2.2)
        image = cv2.resize(behind, (canvas, canvas), interpolation=cv2.INTER_LINEAR)
        shade(
            fragments.face, fragments.values, self.volume, light.direction, light.colour, light.sky, light.ground,
            np.float32(light.wrap), np.float32(rng.uniform(0, 0.35)), np.float32(rng.uniform(0, 0.35)), image,
        )  # fmt: skip
        return image.clip(0, 1), fragments

    def _occlusion(self, keypoints: np.ndarray, vertices: np.ndarray, normals: np.ndarray, light: Light):
        """Ambient openness and sunlight of every vertex; only the hand itself, which comes first, is shadowed."""
        openness, sun = np.ones(len(vertices), np.float32), np.ones(len(vertices), np.float32)
        count = len(self.own)
        cast_shadows(
            vertices[:count], normals[:count], keypoints[_CASTERS[:, 0]], keypoints[_CASTERS[:, 1]],
            _CASTER_RADII, self.own,
            light.direction, sun[:count], openness[:count],
        )  # fmt: skip
        return openness, sun


def wrist_loop(faces: np.ndarray, model: HandModel) -> np.ndarray:
    """The vertices around the wrist in order: those the wrist joint is the mean of."""
    members = np.flatnonzero(model.joint_regressor[0] > 0)
    member = set(members.tolist())
    cap = np.array([f for f in faces if all(int(v) in member for v in f)])
    edges = {(int(a), int(b)) for f in cap for a, b in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    following = {b: a for a, b in edges if (b, a) not in edges}
    loop = [int(members[0])]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return np.array(loop)
