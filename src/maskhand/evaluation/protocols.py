"""The benchmarks of the paper's tables: which images, which axes and joint order in their files, and what was
published.

Sources: each benchmark's public evaluation description; published rows from the paper's Tables 1 to 4 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D

_OPENPOSE = tuple(range(21))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a benchmark is measured."""

    name: str
    title: str
    dataset: str
    splits: tuple[str, ...]
    """The first is the benchmark's own."""
    kind: Literal["3d", "2d"] = "3d"
    count: int | None = None
    """Images of the first split as published: fewer or more are said in the report."""
    order: tuple[int, ...] = _OPENPOSE
    """Keypoint indices in the order of a prediction file."""
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Signs of a prediction file's axes against x right, y down, z forward."""
    tips: tuple[int, ...] = (744, 320, 443, 554, 671)
    """MANO's vertices at the fingertips, thumb to little: where the labels have them."""
    reflection: bool = False
    """Whether the official alignment may mirror."""
    columns: tuple[str, ...] = ()
    """Of the published rows."""
    published: dict[str, tuple[float | None, ...]] = field(default_factory=dict)


_HO3D_COLUMNS = ("PA-MPJPE", "PA-MPVPE", "F@5", "F@15", "AUC_J", "AUC_V")
_PCK_COLUMNS = tuple(f"PCK@{t} {group}" for group in ("all", "visible", "occluded") for t in (".05", ".1", ".15"))
HINT_PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "newdays": {
        "HaMeR": (48.0, 78.0, 88.8, 60.8, 87.9, 94.4, 27.2, 60.8, 78.9),
        "MaskHand (the paper)": (48.7, 79.2, 90.0, 61.0, 87.1, 94.8, 29.4, 64.1, 80.3),
    },
    "visor": {
        "HaMeR": (43.0, 76.9, 89.3, 56.6, 88.0, 94.7, 25.9, 60.8, 80.7),
        "MaskHand (the paper)": (46.1, 81.4, 92.1, 62.1, 90.2, 95.0, 31.4, 64.2, 83.6),
    },
    "ego4d": {
        "HaMeR": (38.9, 71.3, 84.4, 52.0, 83.2, 91.3, 23.0, 56.9, 76.3),
        "MaskHand (the paper)": (46.4, 77.5, 90.1, 59.3, 88.3, 94.4, 29.4, 65.3, 80.1),
    },
}
HINT_MASKED: dict[tuple[str, int], dict[str, tuple[float, float, float]]] = {
    ("newdays", 80): {"HaMeR": (8.7, 28.4, 48.9), "MaskHand (the paper)": (10.5, 31.6, 52.0)},
    ("visor", 80): {"HaMeR": (7.1, 24.4, 41.7), "MaskHand (the paper)": (8.2, 25.0, 41.9)},
    ("ego4d", 80): {"HaMeR": (7.1, 23.4, 40.2), "MaskHand (the paper)": (8.2, 26.2, 44.1)},
    ("newdays", 90): {"HaMeR": (8.7, 27.4, 48.1), "MaskHand (the paper)": (10.4, 31.0, 51.1)},
    ("visor", 90): {"HaMeR": (7.1, 24.3, 42.2), "MaskHand (the paper)": (9.1, 27.3, 44.3)},
    ("ego4d", 90): {"HaMeR": (7.1, 23.4, 40.2), "MaskHand (the paper)": (8.0, 25.1, 43.2)},
}
"""Occluded joints with 80 or 90 % of the hand masked (Table 4)."""

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            name="freihand",
            title="FreiHAND",
            dataset="freihand",
            splits=("evaluation",),
            count=3960,
            tips=(744, 320, 443, 555, 672),
            reflection=True,
            columns=("PA-MPJPE", "PA-MPVPE", "F@5", "F@15"),
            published={
                "MeshGraphormer (test-time augmentation)": (5.9, 6.0, 0.764, 0.986),
                "FastMETRO": (6.5, 7.1, 0.687, 0.983),
                "FastViT": (6.6, 6.7, 0.722, 0.981),
                "AMVUR": (6.2, 6.1, 0.767, 0.987),
                "Deformer": (6.2, 6.4, 0.743, 0.984),
                "PointHMR": (6.1, 6.6, 0.720, 0.984),
                "Zhou et al.": (5.7, 6.0, 0.772, 0.986),
                "HaMeR": (6.0, 5.7, 0.785, 0.990),
                "HHMR (best of many, truth known)": (5.8, 5.8, None, None),
                "MaskHand (the paper)": (5.5, 5.4, 0.801, 0.991),
            },
        ),
        Protocol(
            name="ho3dv2",
            title="HO3D v2",
            dataset="ho3dv2",
            splits=("evaluation",),
            count=11_524,
            order=OPENPOSE_TO_HO3D,
            axes=(1.0, -1.0, -1.0),
            reflection=True,
            columns=_HO3D_COLUMNS,
        ),
        Protocol(
            name="ho3dv3",
            title="HO3D v3",
            dataset="ho3dv3",
            splits=("evaluation",),
            count=20_137,
            order=OPENPOSE_TO_HO3D,
            axes=(1.0, -1.0, -1.0),
            reflection=True,
            columns=_HO3D_COLUMNS,
            published={
                "S2HAND": (11.5, 11.1, 0.448, 0.932, 0.769, 0.778),
                "KPT-Transf.": (10.9, None, None, None, 0.785, None),
                "ArtiBoost": (10.8, 10.4, 0.507, 0.946, 0.785, 0.792),
                "Yu et al.": (10.8, 10.4, None, None, None, None),
                "HandGCAT": (9.3, 9.1, 0.552, 0.956, 0.814, 0.818),
                "AMVUR": (8.7, 8.3, 0.593, 0.964, 0.826, 0.834),
                "HMP": (10.1, None, None, None, None, None),
                "SPMHand": (8.8, 8.6, 0.574, 0.962, None, None),
                "MaskHand (the paper, zero-shot)": (7.0, 7.0, 0.663, 0.984, 0.860, 0.860),
            },
        ),
        Protocol(
            name="dexycb",
            title="DexYCB s0",
            dataset="dexycb",
            splits=("s0_test", "peers_test", "s0_val"),
            columns=("PA-MPJPE", "PA-MPVPE", "MPJPE", "MPVPE"),
            published={
                "METRO": (7.0, None, None, None),
                "Spurr et al.": (6.8, None, None, None),
                "Liu et al.": (6.6, None, None, None),
                "HandOccNet": (5.8, 5.5, 14.0, 13.1),
                "MobRecon": (6.4, 5.6, 14.2, 13.1),
                "H2ONet": (5.7, 5.5, 14.0, 13.0),
                "Zhou et al.": (5.5, 5.5, 12.4, 12.1),
                "MaskHand (the paper)": (5.0, 4.9, 11.7, 11.2),
            },
        ),
        Protocol(
            name="hint",
            title="HInt",
            dataset="hint",
            splits=("newdays", "visor", "ego4d"),
            kind="2d",
            columns=_PCK_COLUMNS,
        ),
    )
}


def published(protocol: Protocol, split: str) -> dict[str, tuple[float | None, ...]]:
    """Rows to stand beside ours: the paper's, on MANO; none for a split that it does not report."""
    if protocol.name == "hint":
        return HINT_PUBLISHED.get(split, {})
    return protocol.published if split == protocol.splits[0] else {}
