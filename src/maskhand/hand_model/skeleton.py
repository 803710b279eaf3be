"""Every joint order the project meets, in one place.

Two orders matter inside: the model's 16 joints (MANO's: wrist, then index, middle, little, ring, thumb, three each),
which carry the rotations, and the 21 keypoints (OpenPose's: wrist, then thumb, index, middle, ring, little, four each
from the palm to the tip), which cross module borders.
"""

from __future__ import annotations

MODEL_JOINTS = (
    "wrist",
    *(f"{finger}_{joint}" for finger in ("index", "middle", "little", "ring") for joint in ("mcp", "pip", "dip")),
    "thumb_cmc",
    "thumb_mcp",
    "thumb_ip",
)
"""The 16 joints that rotate, in MANO's order."""

MODEL_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

KEYPOINTS = (
    "wrist",
    "thumb_cmc",
    "thumb_mcp",
    "thumb_ip",
    "thumb_tip",
    *(
        f"{finger}_{joint}"
        for finger in ("index", "middle", "ring", "little")
        for joint in ("mcp", "pip", "dip", "tip")
    ),
)
"""The 21 keypoints, in OpenPose's order."""

KEYPOINT_PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)

MODEL_TO_KEYPOINTS = (0, 13, 14, 15, 20, 1, 2, 3, 16, 4, 5, 6, 17, 10, 11, 12, 19, 7, 8, 9, 18)
"""Indices into [16 model joints, tips of index, middle, little, ring, thumb] that give the 21 keypoints."""

KEYPOINT_TO_MODEL = (0, 13, 14, 15, -1, 1, 2, 3, -1, 4, 5, 6, -1, 10, 11, 12, -1, 7, 8, 9, -1)
"""For each keypoint the model joint at its place, -1 for a fingertip."""

KEYPOINT_CARRIERS = tuple(
    joint if joint >= 0 else KEYPOINT_TO_MODEL[keypoint - 1] for keypoint, joint in enumerate(KEYPOINT_TO_MODEL)
)
"""For each keypoint the model joint whose bone it sits on: a tip's is the joint before it."""

MANO_TIP_VERTICES = (320, 443, 672, 555, 744)
"""Fingertip vertices of MANO's mesh in the order index, middle, little, ring, thumb (FreiHAND's choice)."""

OPENPOSE_TO_HO3D = (0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20)
"""Keypoint indices in the order of HO3D's 21 joints."""

WEBXR_TO_KEYPOINTS = (0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21, 22, 23, 24)
"""Indices into WebXR's 25 joints that give the 21 keypoints (its four finger metacarpals have no counterpart)."""

FINGER_BONES = tuple((p, c) for c, p in enumerate(KEYPOINT_PARENTS) if p >= 0)
"""The 20 bones between keypoints, (parent, child)."""
