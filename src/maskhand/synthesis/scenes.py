"""Synthetic hands: draw a scene, render the crop the network would see, keep the truth beside it.

Sample k of a seed is always the same. Scenes are drawn in chunks, because poses and meshes are cheaper in batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from maskhand.geometry.augmentation import jittered_crop
from maskhand.geometry.crop import CropConfig, crop_around
from maskhand.hand_model.layer import HandModel
from maskhand.synthesis.backgrounds import background, octave_noise
from maskhand.synthesis.degrade import degrade, restyled
from maskhand.synthesis.geometry import Part, forearm, primitive, ring
from maskhand.synthesis.materials import HandRegions, Light, glove_colours, skin_colours
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.synthesis.scene_renderer import SceneRenderer
from maskhand.synthesis.views import draw_camera, draw_view, rotation_about

SCENES_VERSION = 4
"""Raised whenever a seed comes to give other images: 2 with 0.3.0's crop, 3 with 0.6.0's poses, 4 with 0.7.0's hand."""
CHUNK = 16
# How deep under the skin a keypoint lies: one nearer to the surface than this counts as seen.
FLESH_M = np.array([0.032, 0.028, *[0.018] * 3, *[0.026, 0.018, 0.018, 0.016] * 4])


@dataclass(frozen=True)
class SceneConfig:
    """How synthetic images are drawn."""

    size: int = 224
    """Side of the image [px]."""
    backgrounds: str | None = None
    """A folder of photographs to use beside the packaged ones."""
    upright: bool = True
    """Crops turned so that wrist -> middle MCP points up; False: axis-aligned boxes."""
    object_share: float = 0.28
    occluder_share: float = 0.22
    other_hand_share: float = 0.12
    ring_share: float = 0.0
    """Hands with a finger ring. This and the next two are 0 in the synthetic test."""
    low_light_share: float = 0.0
    style_share: float = 0.0
    """Images whose colours are moved towards those of another picture."""
    glove_share: float = 0.04
    carton_share: float = 0.0
    """Hands that hold a box of a carton's size, which hides the fingers behind it. This and the next: 0 in the test."""
    clasp_share: float = 0.0
    """Hands with the other one so near that their fingers mix."""
    crop_noise: float = 1.0
    """Spread of the crop's angle, size and place around the ideal one; 1 is what the detector leaves."""


TRAINING_SCENES = SceneConfig(
    ring_share=0.15, low_light_share=0.08, style_share=0.25, glove_share=0.12, carton_share=0.06, clasp_share=0.06
)
"""What `maskhand data cache synthetic` draws."""
HARD_SCENES = SceneConfig(glove_share=0.34, carton_share=0.33, clasp_share=0.33)
"""What nobody sees well: gloves, cartons, clasped hands. It measures."""


@dataclass(frozen=True)
class SyntheticSample:
    """One image with its truth. Frame: the crop's camera (x right, y down, z forward), right hand, metres."""

    image: np.ndarray
    """(S, S, 3) uint8 RGB."""
    pose: np.ndarray
    """(16, 3, 3); the first rotation includes the crop's own turn."""
    shape: np.ndarray
    """(10,)."""
    keypoints_3d: np.ndarray
    """(21, 3), wrist at the origin."""
    keypoints_2d: np.ndarray
    """(21, 2) in [-1, 1] across the crop."""
    visible: np.ndarray
    """(21,) bool: inside the crop, nothing in front."""
    focal: float
    """Focal length in sides of the crop."""


class SceneGenerator:
    """Draws and renders samples of one seed."""

    def __init__(self, model: HandModel, config: SceneConfig, seed: int) -> None:
        self.model, self.config, self.seed = model, config, seed
        self.prior = PosePrior(model)
        self.regions = HandRegions.of(model)
        self.rest = model.template.astype(np.float64)
        self.renderer = SceneRenderer(model, config.size, config.backgrounds)

    def samples(self, start: int, stop: int) -> Iterator[SyntheticSample]:
        """Samples start .. stop - 1."""
        for chunk in range(start // CHUNK, -(-stop // CHUNK)):
            for offset, sample in enumerate(self.chunk(chunk)):
                if start <= chunk * CHUNK + offset < stop:
                    yield sample

    def chunk(self, index: int) -> list[Any]:
        """Samples of one chunk."""
        rng = np.random.default_rng((self.seed, index))
        with torch.no_grad():
            pose = self.prior.sample(2 * CHUNK, rng)
            shape = torch.as_tensor(
                rng.normal(size=(2 * CHUNK, self.model.shape_count)).clip(-2.5, 2.5), dtype=torch.float32
            )
            pose[:, 0] = torch.as_tensor(np.stack([self._view(rng) for _ in range(2 * CHUNK)]), dtype=torch.float32)
            mesh = self.model(pose, shape)
        vertices, keypoints = mesh.vertices.numpy(), mesh.keypoints.numpy()
        return [
            self._sample(pose[k].numpy(), shape[k].numpy(), vertices[[k, k + CHUNK]], keypoints[[k, k + CHUNK]], rng)
            for k in range(CHUNK)
        ]

    def _view(self, rng: np.random.Generator) -> np.ndarray:
        view = draw_view(rng)
        return view if self.config.upright else rotation_about(rng.normal(0, 0.8), 2) @ view  # no crop turns it back

    def _sample(
        self, pose: np.ndarray, shape: np.ndarray, vertices: np.ndarray, keypoints: np.ndarray, rng: np.random.Generator
    ):
        config, size = self.config, self.config.size
        focal, distance = draw_camera(keypoints[0], rng)
        wrist = np.array([0, 0, distance]) - keypoints[0].mean(0)
        points = keypoints[0] + wrist
        flat = focal * points[:, :2] / points[:, 2:]
        crop = jittered_crop(
            crop_around(flat * 1000, mirrored=False, config=CropConfig(upright=config.upright)),
            rng,
            config.crop_noise,
            wild=0.1,
        )
        # Turn the scene with the crop, so that the truth is in the crop's own frame.
        turn = crop.camera_rotation().T
        centre, side = turn[:2, :2] @ np.array(crop.centre) / 1000, crop.side / 1000
        vertices, keypoints, wrist = vertices @ turn.T, keypoints @ turn.T, turn @ wrist
        light = Light.draw(rng)
        parts = self._parts(vertices, keypoints, wrist, turn @ pose[0], light, rng)
        image, fragments = self.renderer.render(parts, keypoints[0] + wrist, focal, centre, side, light, rng)

        points = keypoints[0] + wrist
        in_crop = (focal * points[:, :2] / points[:, 2:] - centre) * 2 / side
        canvas = self.renderer.canvas
        pixel = ((in_crop + 1) / 2 * canvas).astype(int)
        inside = ((pixel >= 0) & (pixel < canvas)).all(1)
        seen = fragments.depth[tuple(pixel.clip(0, canvas - 1)[:, ::-1].T)]
        visible = inside & (points[:, 2] < seen + FLESH_M)
        if rng.random() < config.occluder_share:
            image, mask = _occlude(image, in_crop, rng)
            visible &= ~mask[tuple(pixel.clip(0, canvas - 1)[:, ::-1].T)]
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        full_pose = pose.copy()
        full_pose[0] = turn @ pose[0]
        return SyntheticSample(
            image=self._photographed(small ** np.float32(1 / 2.2), rng),
            pose=full_pose.astype(np.float32),
            shape=shape.astype(np.float32),
            keypoints_3d=keypoints[0].astype(np.float32),
            keypoints_2d=in_crop.astype(np.float32),
            visible=visible,
            focal=float(focal / side),
        )

    def _photographed(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        config = self.config
        if config.style_share and rng.random() < config.style_share:
            image = restyled(image, background(32, rng, config.backgrounds), rng.uniform(0.2, 0.8))
        return degrade(image, rng, low_light=bool(config.low_light_share and rng.random() < config.low_light_share))

    def _parts(self, vertices, keypoints, wrist, turn, light: Light, rng: np.random.Generator) -> list[Part]:
        tone = rng.random()
        parts = self._hand(vertices[0] + wrist, turn, tone, rng)
        if self.config.ring_share and rng.random() < self.config.ring_share:
            knuckle = int(rng.choice((5, 9, 13, 13, 17)))
            parts.append(ring(keypoints[0, knuckle] + wrist, keypoints[0, knuckle + 1] + wrist, rng))
        if self.config.carton_share and rng.random() < self.config.carton_share:
            parts.append(self._carton(keypoints[0] + wrist, rng))
        elif rng.random() < self.config.object_share:
            parts.append(self._object(keypoints[0] + wrist, turn, rng))
        clasped = bool(self.config.clasp_share) and rng.random() < self.config.clasp_share
        if clasped or rng.random() < self.config.other_hand_share:
            shift = rng.normal(size=3) * (0.07, 0.07, 0.05)
            nearest = 0.045 if clasped else 0.085
            shift *= (
                nearest / float(np.linalg.norm(shift)) if clasped else max(1.0, nearest / float(np.linalg.norm(shift)))
            )
            other = vertices[1] * np.array([-1, 1, 1]) + wrist + shift  # a left hand, in front or behind
            parts.append(
                Part(other, self.renderer.open_faces[:, ::-1], skin_colours(self.regions, rng, tone=tone), self.rest)
            )
        return parts

    def _hand(self, vertices: np.ndarray, turn: np.ndarray, tone: float, rng: np.random.Generator) -> list[Part]:
        gloved = rng.random() < self.config.glove_share
        colours = glove_colours(len(vertices), rng) if gloved else skin_colours(self.regions, rng, tone=tone)
        bend = rotation_about(rng.normal(0, 0.35), 2) @ rotation_about(
            rng.normal(0, 0.2), 1
        )  # flexion and deviation of the wrist
        arm = forearm(
            vertices[self.renderer.loop],
            turn @ np.array([1.0, 0, 0]),
            turn @ bend @ turn.T,
            rng,
            colours[self.renderer.loop],
            self.rest[self.renderer.loop],
        )
        return [Part(vertices, self.renderer.open_faces, colours, self.rest, skin=0.0 if gloved else 1.0), arm]

    def _carton(self, keypoints: np.ndarray, rng: np.random.Generator) -> Part:
        """A box between the thumb and the fingers, its edges along the hand's."""
        thumb, fingers = keypoints[4], keypoints[[8, 12, 16]].mean(0)
        across = fingers - thumb
        width = float(np.clip(np.linalg.norm(across), 0.05, 0.1))
        across = across / max(float(np.linalg.norm(across)), 1e-6)
        along = keypoints[17] - keypoints[5]
        along = along - along @ across * across
        along = along / max(float(np.linalg.norm(along)), 1e-6)
        axes = np.stack(
            [across * width, along * rng.uniform(0.12, 0.24), np.cross(across, along) * rng.uniform(0.05, 0.09)]
        )
        centre = (thumb + fingers) / 2 + along * rng.normal(0, 0.03) + np.cross(across, along) * rng.normal(0, 0.015)
        corners = (np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3, indexing="ij"), -1).reshape(-1, 3)) @ axes
        quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
        vertices = np.concatenate([corners[list(quad)] for quad in quads])  # of its own for each side: sharp edges
        faces = np.array([(4 * k, 4 * k + i, 4 * k + i + 1) for k in range(6) for i in (1, 2)], np.int32)
        colours = np.repeat((rng.random((6, 3)) * rng.uniform(0.3, 1.0)) ** 2.2, 4, 0)
        return Part(vertices + centre, faces, colours, vertices, skin=0.0)

    def _object(self, keypoints: np.ndarray, turn: np.ndarray, rng: np.random.Generator) -> Part:
        size = rng.uniform(0.015, 0.075)
        vertices, faces = primitive(rng, size)
        palm = turn @ np.array([0, -1.0, 0])
        centre = keypoints[[5, 9, 13]].mean(0) + palm * (size / 2 + rng.uniform(0.005, 0.03)) + rng.normal(0, 0.015, 3)
        colour = (rng.random(3) * rng.uniform(0.3, 1.0)) ** 2.2
        return Part(vertices + centre, faces, np.tile(colour, (len(vertices), 1)), vertices, skin=0.0)


def _occlude(image: np.ndarray, keypoints: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put a flat thing in front of part of the hand: the image, and where it lies."""
    canvas = len(image)
    mask = np.zeros((canvas, canvas), np.uint8)
    at = (keypoints[rng.integers(21)] + 1) / 2 * canvas + rng.normal(0, 0.08, 2) * canvas
    count = int(rng.integers(4, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = canvas * rng.uniform(0.06, 0.28) * rng.uniform(0.6, 1.2, count)
    corners = at + np.stack([np.cos(angles) * radius * rng.uniform(0.4, 1), np.sin(angles) * radius], -1)
    cv2.fillPoly(mask, [cv2.convexHull(corners.astype(np.int32))], 255, cv2.LINE_AA)
    texture = octave_noise(64, rng) if rng.random() < 0.5 else np.broadcast_to(rng.random(3, np.float32), (64, 64, 3))
    texture = cv2.resize(np.ascontiguousarray(texture), (canvas, canvas)) * np.float32(rng.uniform(0.2, 0.9))
    share = (mask.astype(np.float32) / 255)[..., None]
    return image * (1 - share) + texture * share, mask > 127
