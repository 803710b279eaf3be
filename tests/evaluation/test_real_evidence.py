"""Measures on real photos and videos."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from maskhand.errors import InputError
from maskhand.evaluation.real_evidence import Evidence, real_evidence
from maskhand.evaluation.real_photos import PhotoResult, collision_rows, extended_fingers, palm_frame
from maskhand.evaluation.stereo import stereo_errors
from maskhand.evaluation.tokenizer import recorded_poses
from maskhand.evaluation.worst_photos import TILE_PX, worst_photos_sheet
from maskhand.geometry.rotations import matrix_from_axis_angle
from maskhand.hand_model.collision import penetration_depths
from maskhand.synthesis.views import random_rotations
from maskhand.types import Detection, Keypoints2D


def test_folders_that_are_not_there_are_named(tmp_path, predictor) -> None:
    with pytest.raises(InputError, match="stereo_handpose3d folder"):
        stereo_errors(predictor, tmp_path)
    with pytest.raises(InputError, match="cannot be read as recorded poses"):
        recorded_poses(tmp_path / "none.npz", predictor.hand_model)


def test_real_stereo_depth_is_met_better_than_by_the_landmark_networks_3d(predictor, development_data) -> None:
    errors = stereo_errors(predictor, development_data / "stereo_handpose3d", every=12)
    assert errors["frames"] > 20
    assert errors["pa_mpjpe_mm"] < errors["landmark_network_pa_mpjpe_mm"]


def test_extended_fingers_are_counted(hand_model) -> None:
    """The open hand has five; fingers bent into a fist one after the other leave the others."""
    from maskhand.hand_model.joint_axes import JointAxes
    from maskhand.synthesis.pose_prior import pose_from_angles

    axes = JointAxes.of(hand_model)
    for bent in range(5):
        angles = torch.zeros(1, 21)
        angles[0, 17] = 0.3
        for finger in (0, 1, 3, 2)[4 - bent :] if bent else ():
            angles[0, 4 * finger] = 1.3
            angles[0, 4 * finger + 2] = 1.6
        points = hand_model.keypoints(pose_from_angles(angles, axes), torch.zeros(1, 10))[0].numpy()
        assert extended_fingers(points) == 5 - bent


def test_the_palms_own_axes_take_turn_place_and_size_away(hand_model, poses) -> None:

    points = hand_model.keypoints(poses[:1], torch.zeros(1, 10))[0].double().numpy()
    turn = random_rotations(1)[0].double().numpy()
    np.testing.assert_allclose(
        palm_frame(2.5 * points @ turn + 1, left=False), palm_frame(points, left=False), atol=1e-6
    )
    np.testing.assert_allclose(palm_frame(points * [-1, 1, 1], left=True), palm_frame(points, left=False), atol=1e-9)


def test_a_large_hand_whose_fingers_touch_collides_only_once_it_is_scaled_down(hand_model, hands) -> None:

    swung = torch.eye(3).repeat(1000, 16, 1, 1)  # the index finger against the middle one, farther and farther
    swung[:, 1] = matrix_from_axis_angle(torch.linspace(0, -0.5, 1000)[:, None] * torch.tensor([0.0, 1.0, 0.0]))
    points = hand_model.keypoints(swung, torch.zeros(1000, 10))
    touching = int((penetration_depths(points)[0].amax(1) < 0).sum()) - 1
    joints = 1.2 * points[touching].double().numpy()
    points = Keypoints2D.of_user(1000 * joints[:, :2])
    detection = Detection(np.zeros(4), 1.0, keypoints=replace(points, depth=1000 * joints[:, 2]))
    hand = replace(hands[0], joints=joints, trace=replace(hands[0].trace, detection=detection))
    scaled, own = collision_rows([hand])
    assert (scaled.ours, scaled.landmark_network, own.ours, own.landmark_network) == (100, 100, 0, 0)


def test_real_evidence_stands_in_one_table_and_its_worst_photos_on_a_sheet(
    predictor, development_data, tmp_path
) -> None:
    evidence = real_evidence(predictor, development_data, steps=1, every=40, squares=30, frames=4)
    rows = {(row.source, row.measure): row for row in evidence.rows}
    ours = {source: row for (source, measure), row in rows.items() if measure.startswith("PA-MPJPE, landmarks")}
    assert 4 < ours["stereo_handpose3d"].ours < ours["stereo_handpose3d"].landmark_network
    counts = rows[("finger_counting", "finger counts right [%]")]
    assert counts.count == 15 and counts.ours >= 80
    assert rows[("packaged photographs", "squares without a hand in which one is found [%]")].ours <= 5
    lacking = [key for key, row in rows.items() if row.count > 3 and not np.isfinite(row.ours)]
    assert not lacking
    distances = [photo.distance_percent for photo in evidence.photos if photo.hand is not None]
    assert len(evidence.photos) > 40 and min(distances) > 0 and np.median(distances) < 5
    missed = PhotoResult(evidence.photos[0].name, None, np.inf)  # shown first
    lost = Evidence(evidence.rows, [*evidence.photos, missed])
    assert lost.worst(2) == [missed, max(evidence.photos, key=lambda photo: photo.distance_percent)]
    sheet = cv2.imread(str(worst_photos_sheet(lost, development_data, 3, tmp_path / "worst.png")))
    assert sheet.shape == (2 * TILE_PX, 6 * TILE_PX, 3)
    assert not sheet[: TILE_PX - 20, TILE_PX : 3 * TILE_PX].any()  # no hand, no mesh
    assert sheet[:TILE_PX, 3 * TILE_PX :].any()


def test_real_evidence_without_the_data_says_what_is_missing(predictor, tmp_path) -> None:

    with pytest.raises(InputError, match="stereo_handpose3d does not exist; DATA must be the folder"):
        real_evidence(predictor, tmp_path)
