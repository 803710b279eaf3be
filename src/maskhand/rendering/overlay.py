"""Pictures of the result: the photo, the hands drawn on it, and each hand from another side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskhand.rendering.contact_sheet import window
from maskhand.rendering.pictures import drawing, resized, written
from maskhand.rendering.rasteriser import rasterise, vertex_normals
from maskhand.types import AttentionMap, Detection, Hand

SUPERSAMPLING = 2
PANEL_PX = 720
"""Larger photos are drawn at this height."""
TILE_PX = 300
"""Side of a hypothesis's pictures."""
ATTENTION_PX, LEAST_SHOWN = 480, 0.05
"""Side of a picture of attention; samples of less than this share of the largest weight are left out."""
COLOURS = {"right": (94, 168, 255), "left": (255, 158, 84)}
UNSURE = (232, 72, 85)
PAPER, INK = (250, 249, 246), (43, 45, 49)


def draw_result(image: np.ndarray, hands: Sequence[Hand]) -> np.ndarray:
    """Photo, overlay and one 3/4 view per hand, side by side.

    Args:
        image: (H, W, 3) uint8 RGB.
        hands: reconstructed from that image.

    Returns:
        uint8 RGB.

    """
    height, width = image.shape[:2]
    scale = min(1.0, PANEL_PX / height, 1.6 * PANEL_PX / width)
    scale = max(scale, min(240 / height, 480 / width)) if height < 240 else scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    photo = resized(image, size)
    panels = [photo, draw_overlay(photo, hands, scale)]
    if hands:
        count = 1 if len(hands) == 1 else max(2, round((len(hands) / 1.5) ** 0.5))  # rows
        columns = -(-len(hands) // count)
        views = [draw_view(hand, max(120, size[1] // count)) for hand in hands]
        views += [np.full_like(views[0], PAPER)] * (-len(views) % columns)
        panels.append(np.vstack([np.hstack(views[k : k + columns]) for k in range(0, len(views), columns)]))
    height = max(len(panel) for panel in panels)
    return np.hstack([_padded(panel, height) for panel in panels])


def draw_hypotheses(image: np.ndarray, ranked: Sequence[Hand], shown: int = 6) -> np.ndarray:
    """What one hand of a photo may be: above on the photo, below from another side, likeliest first; of many some,
    evenly.

    Args:
        image: (H, W, 3) uint8 RGB.
        ranked: as `Predictor.hypotheses` gives them.
        shown: how many at most.

    Returns:
        uint8 RGB, two rows of tiles.

    """
    chosen = [round(k) for k in np.linspace(0, len(ranked) - 1, min(shown, len(ranked)))]
    box = np.concatenate([np.min([h.box[:2] for h in ranked], 0), np.max([h.box[2:] for h in ranked], 0)])
    scale = min(1.0, TILE_PX / (1.6 * float((box[2:] - box[:2]).max())))  # large photos are drawn on at the tile's size
    photo = resized(image, tuple(max(1, round(side * scale)) for side in image.shape[1::-1]))  # type: ignore[arg-type]
    columns = []
    for k in chosen:
        on_photo, _ = window(draw_overlay(photo, [ranked[k]], scale), scale * box, 1.6, TILE_PX)
        column = np.vstack([on_photo, draw_view(ranked[k], TILE_PX)])
        columns.append(written(column, f"{k + 1} of {len(ranked)}", (6, 2 * TILE_PX - 20), INK))
    return np.hstack(columns)


def draw_attention(image: np.ndarray, hand: Hand, attention: AttentionMap) -> np.ndarray:
    """A hand's part of the photo, twice: as it is, and with reference points (yellow) and sampling locations (red).

    Args:
        image: (H, W, 3) uint8 RGB.
        hand: one of it.
        attention: as `Predictor.attention` gives it.

    Returns:
        uint8 RGB.

    """
    plain, into = window(image, hand.box, 1.6, ATTENTION_PX)
    weights = attention.weights
    with drawing(plain // 2) as (picture, draw):  # darker, so that points show
        for point, weight in zip(into(attention.samples.reshape(-1, 2)), weights.ravel() / weights.max(), strict=True):
            if weight > LEAST_SHOWN:
                shade = tuple(int(255 * weight**0.5 * c) for c in (1.0, 0.25, 0.25))
                draw.circle(tuple(point), 2, fill=shade)
        for point in into(attention.reference):
            draw.circle(tuple(point), 4, fill=(255, 220, 60))
    return np.hstack([plain, np.asarray(picture)])


def draw_overlay(image: np.ndarray, hands: Sequence[Hand], scale: float = 1.0) -> np.ndarray:
    """The hands drawn on the photo, far ones first, with side and confidence; `scale` is the picture's over the photo's
    size.
    """
    canvas = image.copy()
    height, width = image.shape[:2]
    for hand in sorted(hands, key=lambda h: -float(h.vertices[:, 2].mean())):
        focal, centre = hand.focal_px * scale, np.array([width, height]) / 2
        part, colour, alpha = _render(hand, hand.vertices, focal, centre, (height, width))
        canvas[part] = canvas[part] * (1 - 0.92 * alpha) + 255 * colour * 0.92 * alpha
    return _labelled(canvas, hands, scale)


def draw_view(hand: Hand, size: int, *, yaw_deg: float = 55.0, pitch_deg: float = 15.0) -> np.ndarray:
    """One hand alone, turned about its middle: what the photo does not show. (size, size, 3) uint8."""
    middle = hand.vertices.mean(0)
    yaw, pitch = np.deg2rad(yaw_deg if hand.side == "right" else -yaw_deg), np.deg2rad(pitch_deg)
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    turned = (hand.vertices - middle) @ (about_x @ about_y).T
    radius = float(np.linalg.norm(turned[:, :2], axis=1).max())
    distance = 0.6
    focal = 0.42 * size * distance / max(radius, 1e-6)
    part, colour, alpha = _render(hand, turned + [0, 0, distance], focal, np.array([size / 2, size / 2]), (size, size))
    shade = np.linspace(1.0, 0.93, size)[:, None, None]
    picture = np.broadcast_to(np.array(PAPER, float) * shade, (size, size, 3)).copy()
    picture[part] = picture[part] * (1 - alpha) + 255 * colour * alpha
    return picture.clip(0, 255).astype(np.uint8)


def hand_colours(hand: Hand) -> np.ndarray:
    """(V, 3) in [0, 1]: the side's colour, turning red where the joint nearby is unsure."""
    distance = np.linalg.norm(hand.vertices[:, None] - hand.joints[None], axis=-1)  # (V, 21)
    weights = np.exp(-((distance / 0.012) ** 2)) + 1e-9
    sure = (weights @ hand.joint_confidence) / weights.sum(1)
    sure = sure.clip(0, 1)[:, None] ** 0.6
    return (sure * np.array(COLOURS[hand.side]) + (1 - sure) * np.array(UNSURE)) / 255


def _render(
    hand: Hand, vertices: np.ndarray, focal: float, centre: np.ndarray, size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The part of a picture (H, W) that a hand covers, its shaded colour (h, w, 3) and coverage (h, w, 1) there, in [0,
    1].
    """
    s = SUPERSAMPLING
    flat = (focal * vertices[:, :2] / np.maximum(vertices[:, 2:], 1e-3) + centre) * s
    points = np.c_[flat, vertices[:, 2]].astype(np.float32)
    normals = vertex_normals(vertices.astype(np.float32), hand.faces.astype(np.int32))
    values = np.concatenate([normals, hand_colours(hand)], axis=1)
    height, width = size
    low = np.floor(flat.min(0) / s).astype(int).clip(0, (width, height))
    high = np.ceil(flat.max(0) / s + 1).astype(int).clip(low, (width, height))
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    if (high == low).any():
        return part, np.zeros((*(high - low)[::-1], 3)), np.zeros((*(high - low)[::-1], 1))
    points[:, :2] -= low * s
    fragments = rasterise(points, hand.faces, values, ((high - low)[1] * s, (high - low)[0] * s))
    covered = fragments.face >= 0
    lit = np.zeros((*covered.shape, 3))
    lit[covered] = _lit(fragments.values[covered])
    shape = (high[1] - low[1], s, high[0] - low[0], s)  # means over the finer pixels of each pixel
    mask = covered.reshape(shape).mean((1, 3), dtype=np.float32)[..., None]
    summed = lit.reshape(*shape, 3).mean((1, 3))
    return part, summed / np.maximum(mask, 1e-6), mask


def _lit(values: np.ndarray) -> np.ndarray:
    """A soft key light from above left, a fill from the right, a little gloss."""
    normals = values[:, :3] / np.maximum(np.linalg.norm(values[:, :3], axis=1, keepdims=True), 1e-6)
    normals[:, 2] = np.where(normals[:, 2] > 0, -normals[:, 2], normals[:, 2])
    key, fill = np.array([-0.45, -0.65, -0.61]), np.array([0.75, 0.1, -0.65])
    diffuse = (
        0.62 * (normals @ key).clip(0) + 0.25 * (normals @ fill).clip(0) + 0.26 + 0.08 * (0.5 - 0.5 * normals[:, 1])
    )
    half = (key + [0, 0, -1]) / np.linalg.norm(key + [0, 0, -1])
    gloss = 0.22 * (normals @ half).clip(0) ** 30
    rim = 0.25 * (1 + normals[:, 2]).clip(0, 1) ** 3
    return (values[:, 3:6] * diffuse[:, None] + (gloss - 0.5 * rim)[:, None]).clip(0, 1)


def _labelled(image: np.ndarray, hands: Sequence[Hand], scale: float) -> np.ndarray:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture, "RGBA")
    size = max(12, round(min(image.shape[:2]) / 28))
    font = ImageFont.load_default(size)
    for hand in hands:
        text = f"{hand.side} {100 * hand.confidence:.0f} %"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left, bottom - top
        x = float(np.clip(hand.box[0] * scale, 2, max(2, image.shape[1] - width - size)))
        y = float(np.clip(hand.box[1] * scale - height - size, 2, max(2, image.shape[0] - height - size)))
        box = (x, y, x + width + 0.8 * size, y + height + 0.7 * size)
        draw.rounded_rectangle(box, radius=0.35 * size, fill=(*INK, 210))
        draw.rectangle((x, y + 0.2 * size, x + 0.16 * size, box[3] - 0.2 * size), fill=(*COLOURS[hand.side], 255))
        draw.text((x + 0.45 * size - left, y + 0.3 * size - top), text, font=font, fill=(255, 255, 255, 255))
    return np.asarray(picture)


def _padded(block: np.ndarray, height: int) -> np.ndarray:
    """The block filled up to a height."""
    fill = np.full((height - len(block), *block.shape[1:]), PAPER, np.uint8)
    return np.vstack([block, fill])


def with_boxes(image: np.ndarray, hands: Sequence[Detection]) -> np.ndarray:
    """A copy of the (H, W, 3) uint8 image with the boxes, sides and scores of hands, in their sides' colours."""
    scale = max(image.shape[:2]) / 640
    with drawing(image) as (picture, draw):
        for hand in hands:
            colour, corners = COLOURS[hand.side], tuple(float(value) for value in hand.box)
            draw.rectangle(corners, outline=colour, width=max(1, round(2 * scale)))
            place = (corners[0], max(corners[1] - 16 * scale, 0.0))
            draw.text(
                place, f"{hand.side} {hand.score:.2f}", fill=colour, font=ImageFont.load_default(max(8.0, 12 * scale))
            )
    return np.asarray(picture)
