"""Data sets with keypoints alone, and HaMeR's shards, in their original layouts."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import cv2
import numpy as np
from tests.miniature.posed import turned
from tests.miniature.scenes import INTRINSIC, Scene, ordered, save_image, save_json, save_pickle

from maskhand.data.sample import WRIST_LAST


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
