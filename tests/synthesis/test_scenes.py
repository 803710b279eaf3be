from __future__ import annotations

import numpy as np
import pytest
import torch

from maskhand.errors import InputError
from maskhand.evaluation.synthetic import TEST_SEED
from maskhand.geometry.rotations import axis_angle_from_matrix
from maskhand.hand_model.collision import has_collision
from maskhand.hand_model.joint_axes import JointAxes
from maskhand.rendering.rasteriser import rasterise, vertex_normals
from maskhand.synthesis.backgrounds import background, folder_photos
from maskhand.synthesis.pose_prior import PosePrior, pose_from_angles
from maskhand.synthesis.scenes import CHUNK, SceneConfig, SceneGenerator


@pytest.fixture(scope="module")
def generator(hand_model) -> SceneGenerator:
    return SceneGenerator(hand_model, SceneConfig(), seed=5)


def test_bending_a_finger_moves_its_tip_towards_the_palm(hand_model) -> None:
    axes = JointAxes.of(hand_model)
    rest = hand_model.keypoints(torch.eye(3).expand(1, 16, 3, 3), torch.zeros(1, 10))[0]
    for finger, tip in enumerate((8, 12, 20, 16)):  # the model's order
        angles = torch.zeros(1, 21)
        angles[0, 4 * finger] = 0.8
        bent = hand_model.keypoints(pose_from_angles(angles, axes), torch.zeros(1, 10))[0]
        assert bent[tip, 1] < rest[tip, 1] - 0.03, "the palm faces -y"
        others = [t for t in (4, 8, 12, 16, 20) if t != tip]
        torch.testing.assert_close(bent[others], rest[others])
    angles = torch.zeros(1, 21)
    angles[0, 19:] = 0.8
    thumb = hand_model.keypoints(pose_from_angles(angles, axes), torch.zeros(1, 10))[0, 4] - rest[4]
    assert thumb[1] < 0 and thumb[2] < 0, "the thumb bends towards palm and little finger"


def test_positive_abduction_points_a_finger_towards_the_thumb(hand_model) -> None:
    angles = torch.zeros(1, 21)
    angles[0, 1] = 0.3
    axes, shape = JointAxes.of(hand_model), torch.zeros(1, 10)
    moved = hand_model.keypoints(pose_from_angles(angles, axes), shape)[0, 8]
    rest = hand_model.keypoints(torch.eye(3).expand(1, 16, 3, 3), shape)[0, 8]
    assert moved[2] > rest[2] + 0.01


def test_sampled_poses_do_not_pass_through_themselves_and_respect_joint_limits(hand_model) -> None:
    pose = PosePrior(hand_model).sample(2000, np.random.default_rng(0))
    assert not has_collision(hand_model.keypoints(pose, torch.zeros(2000, 10))).any()
    bend = axis_angle_from_matrix(pose[:, [2, 5, 8, 11]]).norm(dim=-1).rad2deg()  # PIP joints
    assert bend.max() < 125
    assert bend.std() > 20, "and they are not all alike"


def test_pose_batches_depend_on_seed_and_number_alone(hand_model) -> None:
    prior = PosePrior(hand_model)
    stream = prior.batches(4, 1, [0, 1])
    first, second = next(stream), next(stream)
    torch.testing.assert_close(next(prior.batches(4, 1, [1])), second)
    assert not torch.equal(first, next(prior.batches(4, 2, [0])))


def test_the_rasteriser_draws_the_nearer_triangle_and_interpolates() -> None:
    points = np.array([[0, 0, 2], [10, 0, 2], [0, 10, 2], [0, 0, 1], [4, 0, 1], [0, 4, 1]], np.float32)
    values = np.array([[0], [10], [0], [50], [50], [50]], np.float32)
    seen = rasterise(points, np.array([[0, 1, 2], [3, 4, 5]], np.int32), values, (10, 10))
    assert seen.face[1, 1] == 1 and seen.face[1, 6] == 0 and seen.face[9, 9] == -1
    assert seen.values[1, 6, 0] == pytest.approx(6.5, abs=1e-4), "the centre of pixel 6 is at 6.5"
    assert seen.depth[1, 1] == 1 and seen.depth[1, 6] == 2 and np.isinf(seen.depth[9, 9])


def test_perspective_makes_the_middle_of_a_slanted_edge_nearer() -> None:
    points = np.array([[0, 0, 1], [100, 0, 3], [0, 100, 1]], np.float32)
    seen = rasterise(points, np.array([[0, 1, 2]], np.int32), np.array([[0], [1], [0]], np.float32), (100, 100))
    assert seen.values[0, 49, 0] == pytest.approx(0.25, abs=0.01), "half-way in the picture is a quarter along"


def test_triangles_behind_the_camera_are_dropped() -> None:
    points = np.array([[0, 0, -1], [10, 0, 1], [0, 10, 1]], np.float32)
    assert (rasterise(points, np.array([[0, 1, 2]], np.int32), np.ones((3, 1), np.float32), (10, 10)).face == -1).all()


def test_normals_of_the_hand_look_outwards(hand_model) -> None:
    template = hand_model.template
    normals = vertex_normals(template, hand_model.faces.astype(np.int32))
    tip = hand_model.tips[1]
    assert normals[tip] @ np.array([-1.0, 0, 0]) > 0.5


def test_a_sample_is_always_the_same_wherever_one_starts(generator, hand_model) -> None:
    again = SceneGenerator(hand_model, SceneConfig(), seed=5)
    one = list(generator.samples(CHUNK - 1, CHUNK + 1))
    other = list(again.samples(0, CHUNK + 1))[-2:]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.pose, b.pose)


def test_truth_in_2d_3d_and_pose_agree(generator, hand_model) -> None:
    for sample in generator.samples(0, 8):
        pose, shape = torch.from_numpy(sample.pose)[None], torch.from_numpy(sample.shape)[None]
        keypoints = hand_model.keypoints(pose, shape)[0].numpy()
        np.testing.assert_allclose(keypoints, sample.keypoints_3d, atol=1e-5)
        # The 2D truth is some perspective view of the 3D truth: fit the camera, nothing is left over.
        u = sample.keypoints_2d.astype(float) / 2 / sample.focal
        rows, right = [], []
        for (x, y, z), (a, b) in zip(sample.keypoints_3d.astype(float), u, strict=True):
            rows += [[1, 0, -a, 1, 0], [0, 1, -b, 0, 1]]
            right += [a * z - x, b * z - y]
        # Unknowns: translation and the crop's offset from the axis, in units of depth.
        design = np.array([[r[0], r[1], r[2]] for r in rows])
        offsets = np.array([[1.0 if k % 2 == 0 else 0, 0.0 if k % 2 == 0 else 1] for k in range(len(rows))])
        depth = np.repeat(sample.keypoints_3d[:, 2], 2)[:, None]
        solution, *_ = np.linalg.lstsq(np.concatenate([design, offsets * depth], 1), np.array(right), rcond=None)
        residual = np.concatenate([design, offsets * depth], 1) @ solution - right
        assert np.abs(residual).max() < 2e-3


def test_the_hand_fills_its_crop_and_stands_upright(generator) -> None:
    boxes = [np.ptp(s.keypoints_2d, axis=0).max() for s in generator.samples(0, 32)]
    assert 1.0 < np.median(boxes) < 1.7
    up = [s.keypoints_2d[9] - s.keypoints_2d[0] for s in generator.samples(0, 32)]
    assert np.mean([abs(np.arctan2(d[0], -d[1])) < 0.6 for d in up]) > 0.8


def test_axis_aligned_crops_leave_hands_as_they_lie(hand_model) -> None:
    samples = SceneGenerator(hand_model, SceneConfig(upright=False, crop_noise=0.0), seed=5).samples(0, 32)
    up = [s.keypoints_2d[9] - s.keypoints_2d[0] for s in samples]
    assert np.std([np.arctan2(d[0], -d[1]) for d in up]) > 0.5


def test_images_differ_and_use_the_range(generator) -> None:
    images = np.stack([s.image for s in generator.samples(0, 16)])
    assert images.shape == (16, 224, 224, 3)
    assert images.reshape(16, -1).std(1).mean() > 20


def test_backgrounds_of_every_kind_are_images() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        image = background(64, rng)
        assert image.shape == (64, 64, 3) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1.0001


def test_an_empty_background_folder_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="no readable image"):
        folder_photos(str(tmp_path))


def test_training_is_kept_off_the_tests_seed(tmp_path) -> None:
    from maskhand.cli.data import synthetic

    with pytest.raises(InputError, match="synthetic test"):
        synthetic(out=tmp_path, shards=1, rows=1, seed=TEST_SEED, backgrounds=None, workers=1, half=False)
