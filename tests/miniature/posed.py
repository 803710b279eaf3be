"""Data sets with MANO poses, in their original layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tests.miniature.scenes import INTRINSIC, OPENGL, SIZE, Scene, ordered, save_image, save_json, save_pickle

from maskhand.data.sample import TIP_FIRST
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D


def freihand(root: Path, scenes: list[Scene], split: str = "evaluation") -> None:
    for k, scene in enumerate(scenes):
        save_image(root / split / "rgb" / f"{k:08d}.jpg", scene)
    save_json(root / f"{split}_K.json", [INTRINSIC.tolist()] * len(scenes))
    save_json(root / f"{split}_xyz.json", [s.points.tolist() for s in scenes])
    save_json(root / f"{split}_verts.json", [s.vertices.tolist() for s in scenes])
    save_json(root / f"{split}_mano.json", [[[*s.pose, *s.shape, 0.0, 0.0, 1.0]] for s in scenes])


def turned(pose: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Axis angles (48,) of a hand seen from another frame."""
    whole = Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[:3])
    return np.concatenate([whole.as_rotvec(), pose[3:]])


def ho3d(root: Path, scenes: list[Scene], split: str = "evaluation", suffix: str = "png") -> None:
    names = []
    for k, scene in enumerate(scenes):
        sequence, frame = f"SB{k % 2}", f"{k:04d}"
        names.append(f"{sequence}/{frame}")
        save_image(root / split / sequence / "rgb" / f"{frame}.{suffix}", scene)
        joints = ordered(scene.points * OPENGL, OPENPOSE_TO_HO3D)
        meta = {"camMat": INTRINSIC, "objName": "003_cracker_box", "handBoundingBox": scene.box.tolist()}
        meta["handJoints3D"] = joints if split == "train" else joints[0]
        if split == "train":
            meta |= {"handPose": turned(scene.pose, np.diag(OPENGL)), "handBeta": scene.shape, "handTrans": np.zeros(3)}
        save_pickle(root / split / sequence / "meta" / f"{frame}.pkl", meta)
    (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    if split == "evaluation":
        save_json(root / "evaluation_xyz.json", [ordered(s.points * OPENGL, OPENPOSE_TO_HO3D).tolist() for s in scenes])
        save_json(root / "evaluation_verts.json", [(s.vertices * OPENGL).tolist() for s in scenes])


def ho3d_v3(root: Path, scenes: list[Scene]) -> None:
    ho3d(root, scenes, "train", "jpg")


def h2o3d(root: Path, scenes: list[Scene]) -> None:
    names = []
    for k, scene in enumerate(scenes):
        names.append(f"GSF1/{k:04d}")
        save_image(root / "train" / "GSF1" / "rgb" / f"{k:04d}.jpg", scene)
        meta = {"camMat": INTRINSIC, "handBeta": scene.shape}
        for side in ("right", "left"):
            there = scene.side == side
            joints = ordered(scene.points * OPENGL, OPENPOSE_TO_HO3D) if there else np.zeros((21, 3))
            meta |= {
                f"{side}HandJoints3D": joints,
                f"{side}HandPose": turned(scene.pose, np.diag(OPENGL)),
                f"{side}HandTrans": np.zeros(3),
            }
            meta[f"jointValid{side.title()}"] = np.full(21, float(there))
        save_pickle(root / "train" / "GSF1" / "meta" / f"{k:04d}.pkl", meta)
    (root / "train.txt").write_text("\n".join(names))


def dexycb(root: Path, scenes: list[Scene]) -> None:
    """One frame a sequence; five sequences of subject 3, the fifth of which is a test one, hold the same frames."""
    serial = "836212060125"
    colour = {"fx": 310.0, "fy": 305.0, "ppx": 158.0, "ppy": 121.0}
    lines = "\n".join(f"  {key}: {value}" for key, value in colour.items())
    (root / "calibration" / "intrinsics").mkdir(parents=True)
    (root / "calibration" / "intrinsics" / f"{serial}_640x480.yml").write_text(f"color:\n{lines}\n")
    for number, side in ((4, "right"), (9, "left")):
        own = [s for s in scenes if s.side == side]
        for index in range(number - 4, number + 1):
            sequence = root / "20200820-subject-03" / f"20200820_1350{index:02d}"
            sequence.mkdir(parents=True)
            frames = len(own) + 1
            (sequence / "meta.yml").write_text(
                f"serials:\n- '{serial}'\nnum_frames: {frames}\nmano_sides:\n- {side}\n"
                f"mano_calib:\n- 20200820-subject-03_{side}\n"
            )
            for k, scene in enumerate(own):
                save_image(sequence / serial / f"color_{k:06d}.jpg", scene)
                np.savez(
                    sequence / serial / f"labels_{k:06d}.npz",
                    joint_3d=scene.points[None].astype(np.float32),
                    joint_2d=scene.flat[None].astype(np.float32),
                    pose_m=np.zeros((1, 51), np.float32),
                )
            empty = -np.ones((1, 21, 3), np.float32)  # the hand has left the scene
            np.savez(sequence / serial / f"labels_{len(own):06d}.npz", joint_3d=empty)


def dexycb_peers(root: Path, scenes: list[Scene]) -> None:
    images, annotations = [], []
    for k, scene in enumerate(scenes):
        name = f"20200820-subject-03/20200820_135508/836212060125/color_{k:06d}.jpg"
        save_image(root / name, scene)
        images.append({"id": k, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        annotations.append(
            {
                "id": k,
                "image_id": k,
                "hand_type": scene.side,
                "joints_coord_cam": scene.points.tolist(),
                "joints_img": np.c_[scene.flat, scene.points[:, 2]].tolist(),
                "cam_param": {"focal": [310.0, 305.0], "princpt": [158.0, 121.0]},
                "mano_param": {"pose": scene.pose.tolist(), "shape": scene.shape.tolist()},
            }
        )
    save_json(root / "annotations" / "DEX_YCB_s0_test_data.json", {"images": images, "annotations": annotations})


def rhd(root: Path, scenes: list[Scene]) -> None:
    entries = {}
    for k, scene in enumerate(scenes):
        save_image(root / "evaluation" / "color" / f"{k:05d}.png", scene)
        points, flat = np.ones((42, 3)), np.zeros((42, 3))
        first = 0 if scene.side == "left" else 21
        points[first : first + 21] = ordered(scene.points, TIP_FIRST)
        flat[first : first + 21] = np.c_[ordered(scene.flat, TIP_FIRST), np.ones(21)]
        entries[k] = {"xyz": points, "uv_vis": flat, "K": INTRINSIC}
    save_pickle(root / "evaluation" / "anno_evaluation.pickle", entries)
