"""Miniature data sets: a few drawn hands, written in each data set's own layout, field by field from its public
description."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from maskhand.data.sample import TIP_FIRST, WRIST_LAST
from maskhand.hand_model.skeleton import OPENPOSE_TO_HO3D
from maskhand.rendering.rasteriser import rasterise
from maskhand.synthesis.pose_prior import PosePrior

SIZE = (320, 240)
INTRINSIC = np.array([[310.0, 0, 158.0], [0, 305.0, 121.0], [0, 0, 1.0]])
OPENGL = np.array([1.0, -1.0, -1.0])


@dataclass
class Scene:
    """One drawn hand and its truth: our axes, OpenPose's order, metres."""

    side: str
    image: np.ndarray
    mask: np.ndarray
    points: np.ndarray
    vertices: np.ndarray
    pose: np.ndarray
    shape: np.ndarray

    @property
    def flat(self) -> np.ndarray:
        seen = self.points @ INTRINSIC.T
        return seen[:, :2] / seen[:, 2:]

    @property
    def box(self) -> np.ndarray:
        return np.concatenate([self.flat.min(0), self.flat.max(0)])

    def jpeg(self) -> bytes:
        return cv2.imencode(".jpg", self.image[:, :, ::-1])[1].tobytes()


def draw_scenes(hand_model, count: int, sides: tuple[str, ...], seed: int = 5) -> list[Scene]:
    rng = np.random.default_rng(seed)
    pose = PosePrior(hand_model).sample(count, rng)
    towards = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float)  # palm to the camera, fingers up
    import torch

    pose[:, 0] = torch.stack(
        [torch.as_tensor(cv2.Rodrigues(rng.normal(0, 0.5, 3))[0] @ towards, dtype=torch.float32) for _ in range(count)]
    )
    shape = torch.as_tensor(rng.normal(0, 0.5, (count, 10)), dtype=torch.float32)
    mesh = hand_model(pose, shape)
    kept = np.linspace(0, mesh.vertices.shape[1] - 1, 778).astype(int)
    scenes = []
    for k in range(count):
        side = sides[k % len(sides)]
        flip = np.array([-1.0 if side == "left" else 1.0, 1, 1])
        centre = mesh.keypoints[k].numpy().mean(0)
        at = np.array([rng.normal(0, 0.02), rng.normal(0, 0.02), 0.5])
        points = (mesh.keypoints[k].numpy().astype(float) - centre) * flip + at
        vertices = (mesh.vertices[k].numpy().astype(float) - centre) * flip + at
        seen = vertices @ INTRINSIC.T
        pixels = np.c_[seen[:, :2] / seen[:, 2:], vertices[:, 2]].astype(np.float32)
        faces = hand_model.faces.numpy().astype(np.int32)
        drawn = rasterise(pixels, faces, vertices.astype(np.float32), SIZE[::-1])
        mask = np.asarray(drawn.face) >= 0
        image = np.full((SIZE[1], SIZE[0], 3), (40, 90, 60), np.uint8)
        image[mask] = (220, 170, 140)
        scenes.append(
            Scene(side, image, mask, points, vertices[kept], rng.normal(0, 0.3, 48), shape[k].numpy().astype(float))
        )
    return scenes


def ordered(points: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return points[list(order)]


def save_image(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), scene.image[:, :, ::-1])


def save_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def save_pickle(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


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
    """One frame a sequence; five sequences of subject 3, of which the fifth is a test sequence, hold the same frames.
    """
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


def interhand(root: Path, scenes: list[Scene]) -> None:
    rng = np.random.default_rng(2)
    images, annotations = [], []
    cameras = {key: {} for key in ("campos", "camrot", "focal", "princpt")}
    joints, mano = {}, {}
    for k, scene in enumerate(scenes):
        camera, frame = f"4002{k}", str(100 + k)
        rotation, place = cv2.Rodrigues(rng.normal(0, 1, 3))[0], rng.normal(0, 500, 3)
        for key, value in (
            ("campos", place),
            ("camrot", rotation),
            ("focal", [310.0, 305.0]),
            ("princpt", [158.0, 121.0]),
        ):
            cameras[key][camera] = np.asarray(value).tolist()
        world = np.ones((42, 3))
        first = 0 if scene.side == "right" else 21
        world[first : first + 21] = ordered(scene.points, WRIST_LAST) * 1000 @ rotation + place
        valid = np.zeros((42, 1))
        valid[first : first + 21] = 1
        joints[frame] = {"world_coord": world.tolist(), "joint_valid": valid.tolist(), "hand_type": scene.side}
        mano[frame] = {
            scene.side: {
                "pose": turned(scene.pose, rotation.T).tolist(),
                "shape": scene.shape.tolist(),
                "trans": [0, 0, 0],
            }
        }
        name = f"Capture0/ROM01/cam{camera}/image{k}.jpg"
        save_image(root / "images" / "test" / name, scene)
        images.append({"id": k, "file_name": name, "capture": 0, "camera": camera, "frame_idx": 100 + k})
        annotations.append({"id": k, "image_id": k, "hand_type": scene.side, "joint_valid": valid.tolist()})
    folder = root / "annotations" / "test"
    save_json(folder / "InterHand2.6M_test_data.json", {"images": images, "annotations": annotations})
    save_json(folder / "InterHand2.6M_test_camera.json", {"0": cameras})
    save_json(folder / "InterHand2.6M_test_joint_3d.json", {"0": joints})
    save_json(folder / "InterHand2.6M_test_MANO_NeuralAnnot.json", {"0": mano})


DISTORTION = np.array([-0.3, 0.2, 0.001, -0.002, 0.05])
"""k1, k2, p1, p2, k3 of the Brown-Conrady model."""


def distorted(points: np.ndarray) -> np.ndarray:
    """(21, 2) pixels of camera-frame points [m] through MTC's lens, by the model's own formula."""
    k1, k2, p1, p2, k3 = DISTORTION
    x, y = (points[:, :2] / points[:, 2:]).T
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent = np.c_[
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    ]
    return bent * [INTRINSIC[0, 0], INTRINSIC[1, 1]] + INTRINSIC[:2, 2]


def mtc(root: Path, scenes: list[Scene]) -> None:
    rotation, shift = cv2.Rodrigues(np.array([0.3, -2.0, 0.4]))[0], np.array([[3.0], [-20.0], [80.0]])  # cm
    entries = []
    for k, scene in enumerate(scenes):
        frame = f"{k:08d}"
        world = (scene.points * 100 - shift.T) @ rotation
        view = {"insideImg": [True] * 21, "occluded": [False] * 21, "overlap": False}
        hidden = {**view, "occluded": [True] + [False] * 20}
        hand = {"landmarks": world.ravel().tolist(), "2D": {4: view, 7: hidden}}
        entries.append({"seqName": "171026_pose1", "frame_str": frame, f"{scene.side}_hand": hand})
        save_image(root / "hdImgs" / "171026_pose1" / frame / f"00_04_{frame}.jpg", scene)
    camera = {"K": INTRINSIC, "R": rotation, "t": shift, "distCoef": DISTORTION}
    save_pickle(root / "annotation.pkl", {"training_data": [], "testing_data": entries})
    save_pickle(root / "camera_data.pkl", {"171026_pose1": {4: camera, 7: camera}})


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


def coco_wholebody(root: Path, scenes: list[Scene]) -> None:
    images, annotations = [], []
    for k, scene in enumerate(scenes):
        save_image(root / "val2017" / f"{k:012d}.jpg", scene)
        images.append({"id": k, "file_name": f"{k:012d}.jpg"})
        low, high = scene.box[:2], scene.box[2:]
        entry = {"id": 10 + k, "image_id": k}
        for side in ("left", "right"):
            there = scene.side == side
            points = np.c_[scene.flat, np.full(21, 2.0)] if there else np.zeros((21, 3))
            entry |= {f"{side}hand_valid": there, f"{side}hand_kpts": points.ravel().tolist()}
            entry[f"{side}hand_box"] = [*low, *(high - low)] if there else [0.0] * 4
        annotations.append(entry)
    save_json(root / "annotations" / "coco_wholebody_val_v1.0.json", {"images": images, "annotations": annotations})


def halpe(root: Path, scenes: list[Scene]) -> None:
    images, annotations = [], []
    for k, scene in enumerate(scenes):
        save_image(root / "images" / "val2017" / f"{k:012d}.jpg", scene)
        images.append({"id": k, "file_name": f"{k:012d}.jpg"})
        points = np.zeros((136, 3))
        first = 94 if scene.side == "left" else 115
        points[first : first + 21] = np.c_[scene.flat, np.ones(21)]
        annotations.append({"id": k, "image_id": k, "keypoints": points.ravel().tolist()})
    save_json(root / "annotations" / "halpe_val_v1.json", {"images": images, "annotations": annotations})


def mpii_nzsl(root: Path, scenes: list[Scene]) -> None:
    for k, scene in enumerate(scenes):
        save_image(root / "manual_test" / f"Berry_roof_story.flv_{k:06d}_{scene.side[0]}.jpg", scene)
        content = {"hand_pts": np.c_[scene.flat, np.ones(21)].tolist(), "is_left": float(scene.side == "left")}
        save_json(root / "manual_test" / f"Berry_roof_story.flv_{k:06d}_{scene.side[0]}.json", content)


def hint(root: Path, scenes: list[Scene], folder: str = "TEST_newdays_img") -> None:
    for k, scene in enumerate(scenes):
        stem = f"ND_frame{k:06d}_{scene.side[0]}"
        save_image(root / folder / f"{stem}.jpg", scene)
        hidden = [int(j % 4 == 3) for j in range(21)]
        save_json(
            root / folder / f"{stem}.json",
            [{"keypoints": scene.flat.tolist(), "occlusion": hidden, "bbox": [scene.box.tolist()]}],
        )


def hamer_shards(root: Path, scenes: list[Scene]) -> None:
    (root / "freihand-train").mkdir(parents=True)
    with tarfile.open(root / "freihand-train" / "000000.tar", "w") as archive:
        for k, scene in enumerate(scenes):
            entry = {
                "keypoints_2d": np.c_[scene.flat, np.ones(21)].astype(np.float32),
                "keypoints_3d": np.c_[scene.points - scene.points[:1], np.ones(21)].astype(np.float32),
                "center": (scene.box[:2] + scene.box[2:]) / 2,
                "scale": (scene.box[2:] - scene.box[:2]) / 200,
                "right": float(scene.side == "right"),
                "hand_pose": scene.pose.astype(np.float32),
                "betas": scene.shape.astype(np.float32),
                "has_hand_pose": 1.0,
                "has_betas": 1.0,
                "extra_info": {},
            }
            for suffix, content in (("jpg", scene.jpeg()), ("data.pyd", pickle.dumps([entry], protocol=4))):
                name = f"./{k:06d}.{suffix}"
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def hamer_eval(root: Path, scenes: list[Scene]) -> None:
    for k, scene in enumerate(scenes):
        save_image(root / "images" / f"{k}.jpg", scene)
    boxes = np.stack([s.box for s in scenes])
    np.savez(
        root / "freihand_val.npz",
        imgname=np.array([f"images/{k}.jpg".encode() for k in range(len(scenes))]),
        center=(boxes[:, :2] + boxes[:, 2:]) / 2,
        scale=boxes[:, 2:] - boxes[:, :2],
        extra_info=np.array([{}] * len(scenes), dtype=object),  # pickled, never read
        right=np.array([float(s.side == "right") for s in scenes]),
        hand_keypoints_2d=np.stack([np.c_[s.flat, np.ones(21)] for s in scenes]),
        hand_keypoints_3d=np.stack([np.c_[s.points - s.points[:1], np.ones(21)] for s in scenes]),
    )


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
