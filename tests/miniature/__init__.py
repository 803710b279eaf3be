"""Every data set in miniature, in its original layout: what readers and benchmarks are tested on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.miniature.keypoints import (
    coco_wholebody,
    distorted,
    halpe,
    hamer_eval,
    hamer_shards,
    hint,
    interhand,
    mpii_nzsl,
    mtc,
)
from tests.miniature.posed import dexycb, dexycb_peers, freihand, h2o3d, ho3d, ho3d_v3, rhd, turned
from tests.miniature.scenes import INTRINSIC, Scene, draw_scenes, ordered, save_image, save_json, save_pickle

__all__ = ["INTRINSIC", "distorted", "draw_scenes", "ordered", "save_image", "save_json", "save_pickle", "turned"]

BOTH, RIGHT = ("right", "left"), ("right",)
FORMATS: dict[str, tuple[str, str, Callable[[Path, list[Scene]], None], tuple[str, ...]]] = {
    "freihand": ("freihand", "evaluation", freihand, RIGHT),
    "ho3dv2": ("ho3dv2", "evaluation", ho3d, RIGHT),
    "ho3dv3": ("ho3dv3", "train", ho3d_v3, RIGHT),
    "dexycb": ("dexycb", "s0_test", dexycb, BOTH),
    "dexycb-peers": ("dexycb", "peers_test", dexycb_peers, BOTH),
    "interhand": ("interhand", "test", interhand, BOTH),
    "mtc": ("mtc", "testing", mtc, BOTH),
    "rhd": ("rhd", "evaluation", rhd, BOTH),
    "h2o3d": ("h2o3d", "train", h2o3d, BOTH),
    "coco-wholebody": ("coco-wholebody", "val", coco_wholebody, BOTH),
    "halpe": ("halpe", "val", halpe, BOTH),
    "mpii-nzsl": ("mpii-nzsl", "test", mpii_nzsl, BOTH),
    "hint": ("hint", "newdays", hint, BOTH),
    "hamer-shards": ("hamer-shards", "*", hamer_shards, BOTH),
    "hamer-eval": ("hamer-eval", "*", hamer_eval, BOTH),
}
"""What the test calls it -> data set, split, writer, sides."""
