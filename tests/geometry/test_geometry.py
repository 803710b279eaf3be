from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskhand.errors import InputError
from maskhand.fitting.view_fit import ViewFitConfig, fit_view
from maskhand.geometry.alignment import align_similarity
from maskhand.geometry.camera import project, project_in_crop, translation_from_weak, turn_to_ray
from maskhand.geometry.crop import Crop, CropConfig, crop_around
from maskhand.geometry.rotations import axis_angle_from_matrix, matrix_from_6d, matrix_from_axis_angle, six_from_matrix
from maskhand.synthesis.views import random_rotations


def test_rotations_survive_6d_and_axis_angle() -> None:
    rotation = random_rotations(200).double()
    torch.testing.assert_close(matrix_from_6d(six_from_matrix(rotation)), rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(matrix_from_axis_angle(axis_angle_from_matrix(rotation)), rotation, atol=1e-6, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-7, math.pi])
def test_axis_angle_is_right_at_the_edges(angle: float) -> None:
    axis = torch.nn.functional.normalize(torch.tensor([0.2, -0.5, 0.8], dtype=torch.float64), dim=0)
    matrix = matrix_from_axis_angle(axis * angle)
    again = matrix_from_axis_angle(axis_angle_from_matrix(matrix))
    torch.testing.assert_close(again, matrix, atol=1e-6, rtol=0)


def test_the_gradient_of_axis_angle_is_finite_at_zero() -> None:
    vector = torch.zeros(1, 3, requires_grad=True)
    matrix_from_axis_angle(vector)[0, 2, 1].backward()
    torch.testing.assert_close(vector.grad, torch.tensor([[1.0, 0, 0]]))


def test_alignment_undoes_a_similarity() -> None:
    points = torch.randn(5, 21, 3, dtype=torch.float64)
    moved = 2.5 * points @ random_rotations(5).double() + torch.tensor([1.0, -2, 3])
    torch.testing.assert_close(align_similarity(points, moved), moved, atol=1e-5, rtol=0)


def test_only_the_official_alignment_accepts_a_mirror_image() -> None:
    points = torch.randn(21, 3, dtype=torch.float64)
    mirror = points * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(align_similarity(points, mirror, allow_reflection=True), mirror)
    assert (align_similarity(points, mirror) - mirror).norm(dim=-1).mean() > 0.1


def test_a_hand_on_the_axis_projects_to_the_centre_of_its_crop() -> None:
    translation = translation_from_weak(torch.tensor([[7.0, 0.0, 0.0]]))
    torch.testing.assert_close(project_in_crop(torch.zeros(1, 1, 3), translation), torch.zeros(1, 1, 2))


def test_a_view_fitted_to_nonsense_stays_before_the_camera_at_a_believable_distance() -> None:
    """Flat or wrong hands must not be flung behind the camera or kilometres away."""
    focal, principal = torch.tensor([310.0]).double(), torch.tensor([160.0, 120.0]).double()
    for seed in range(200):
        draw = torch.Generator().manual_seed(seed)
        points = 0.05 * torch.randn(21, 3, generator=draw, dtype=torch.float64) * torch.tensor([1.0, 1, seed % 3])
        pixels = principal + 30 * torch.randn(21, 2, generator=draw, dtype=torch.float64)
        _, where = fit_view(points, pixels, torch.ones(21).double(), focal, principal, pixel_sigma=1.0)
        assert 0.1 < where[2] < 8


def test_the_fitted_view_finds_a_small_turn_and_keeps_to_its_prior_without_evidence() -> None:
    points = 0.08 * torch.randn(21, 3, dtype=torch.float64)
    focal, principal = torch.tensor([900.0]).double(), torch.tensor([320.0, 240.0]).double()
    turn = matrix_from_axis_angle(torch.tensor([0.1, -0.15, 0.2]).double())
    truth = torch.tensor([0.05, -0.02, 0.5]).double()
    pixels = project(points @ turn.T + truth, focal, principal)
    found, where = fit_view(
        points, pixels, torch.ones(21).double(), focal, principal, pixel_sigma=0.5, config=ViewFitConfig(turn_sigma=1.0)
    )
    torch.testing.assert_close(found, turn, atol=1e-3, rtol=0)
    torch.testing.assert_close(where, truth, atol=1e-3, rtol=0)
    kept, _ = fit_view(points, pixels, torch.full((21,), 1e-9).double(), focal, principal, pixel_sigma=1.0)
    torch.testing.assert_close(kept, torch.eye(3).double(), atol=1e-3, rtol=0)


def test_the_turn_carries_the_optical_axis_onto_the_ray() -> None:
    focal, principal, pixel = (torch.tensor(v).double() for v in ([500.0], [320.0, 240.0], [600.0, 30.0]))
    turn = turn_to_ray(pixel, focal, principal)
    torch.testing.assert_close(turn @ turn.T, torch.eye(3).double())
    ray = turn @ torch.tensor([0.0, 0, 1]).double()
    torch.testing.assert_close(project(ray[None], focal, principal)[0], pixel)


def test_points_go_into_a_crop_and_come_back() -> None:
    points = np.random.default_rng(0).uniform(0, 500, (7, 2))
    for mirrored in (False, True):
        crop = Crop((210.0, 333.0), 120.0, 0.7, mirrored)
        np.testing.assert_allclose(crop.to_photo(crop.to_crop(points)), points)
        np.testing.assert_allclose(crop.to_crop(np.array([[210.0, 333.0]])), [[0, 0]], atol=1e-12)


def test_pixels_land_where_points_land() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[148:153, 248:253] = 255  # a blob around (250.5, 150.5)
    for mirrored in (False, True):
        for side in (150.0, 700.0):  # enlarged, and averaged down
            crop = Crop((230.0, 160.0), side, 0.4, mirrored)
            seen = crop.extract(image, 224)[..., 0].astype(float)
            y, x = np.indices(seen.shape) + 0.5
            found = np.array([(x * seen).sum(), (y * seen).sum()]) / seen.sum() / 112 - 1
            np.testing.assert_allclose(found, crop.to_crop(np.array([250.5, 150.5])), atol=0.01)


def test_the_default_crop_stands_upright_around_the_palm_with_room_for_the_fingers() -> None:
    points = np.random.default_rng(1).uniform(100, 300, (21, 2))
    crop = crop_around(points, mirrored=False)
    inside = crop.to_crop(points)
    wrist_to_knuckles = inside[[5, 9, 9, 13]].mean(0) - inside[0]
    assert abs(wrist_to_knuckles[0]) < 0.01 and wrist_to_knuckles[1] < 0
    palm = inside[[0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]]
    size = np.ptp(palm, axis=0)
    np.testing.assert_allclose(size.max(), 1, atol=0.02)  # half the crop
    np.testing.assert_allclose((palm.min(0) + palm.max(0)) / 2, [0, 0.1 * size[1]], atol=0.03)


def test_a_finger_that_bends_leaves_the_default_crop_where_it_is() -> None:
    points = np.random.default_rng(4).uniform(100, 300, (21, 2))
    bent = points.copy()
    bent[[7, 8, 11, 12, 15, 16, 19, 20, 4]] += 40
    assert crop_around(points, mirrored=False) == crop_around(bent, mirrored=False)


def test_the_papers_crop_is_an_axis_aligned_box_with_all_keypoints_in_its_middle() -> None:
    points = np.random.default_rng(1).uniform(100, 300, (21, 2))
    crop = crop_around(points, mirrored=False, config=CropConfig(upright=False))
    inside = crop.to_crop(points)
    assert crop.angle == 0
    np.testing.assert_allclose(inside.min(0) + inside.max(0), 0, atol=0.05)
    assert np.abs(inside).max() < 1


def test_turning_the_photo_turns_the_crop_and_leaves_what_it_shows() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    points = rng.uniform(60, 196, (21, 2))
    turned = np.rot90(image)
    turned_points = np.stack([points[:, 1], 256 - points[:, 0]], 1)
    one = crop_around(points, mirrored=False).extract(image, 224)
    other = crop_around(turned_points, mirrored=False).extract(turned, 224)
    assert np.abs(one.astype(int) - other).mean() < 1.0


def test_a_mirrored_photo_with_a_mirrored_crop_shows_the_same() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (200, 240, 3), dtype=np.uint8)
    points = rng.uniform(60, 150, (21, 2))
    mirrored_points = np.stack([240 - points[:, 0], points[:, 1]], 1)
    one = crop_around(points, mirrored=False).extract(image, 224)
    other = crop_around(mirrored_points, mirrored=True).extract(np.ascontiguousarray(image[:, ::-1]), 224)
    assert np.abs(one.astype(int) - other).mean() < 1.0


def test_the_last_digits_of_keypoints_do_not_change_their_crop() -> None:
    points = np.random.default_rng(5).uniform(60, 150, (21, 2))
    crops = {crop_around(points + 1e-4 * k, mirrored=False) for k in range(5)}
    assert len(crops) == 1


@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("centre", [(500.0, -5000.0), (-4000.0, 500.0), (9000.0, 9000.0)])
def test_a_crop_outside_the_photo_is_black(angle: float, centre: tuple[float, float]) -> None:
    image = np.full((1000, 1000, 3), 200, np.uint8)
    assert not Crop(centre, 500.0, angle).extract(image, 64).any()


def test_an_upright_crop_that_reaches_beyond_the_photo_is_exact_within_it() -> None:
    image = np.full((300, 200, 3), 90, np.uint8)
    image[100:150, 40:80] = 250
    crop = Crop((10.0, 120.0), 400.0, 0.0)
    seen = crop.extract(image, 400)
    np.testing.assert_array_equal(seen[80:380, 190:390], image)
    assert not seen[:, :189].any() and not seen[:79].any()
    np.testing.assert_array_equal(Crop((10.0, 120.0), 400.0, 0.0, True).extract(image, 400), seen[:, ::-1])


def test_crops_far_larger_than_their_photo_cost_no_more_than_it() -> None:
    image = np.zeros((1, 3, 3), np.uint8)
    assert Crop((1.0, 0.5), 1e6, 0.0).extract(image, 32).shape == (32, 32, 3)
    wide = np.full((400, 20_000, 3), 128, np.uint8)
    assert (Crop((10_000.0, 200.0), 20_000.0, 0.0).extract(wide, 192)[95:97] == 128).all()


def test_keypoints_that_are_no_numbers_lay_no_crop() -> None:
    with pytest.raises(InputError, match="no square"):
        crop_around(np.full((21, 2), np.nan), mirrored=False)


def test_an_impossible_crop_is_refused() -> None:
    with pytest.raises(InputError, match="no square"):
        Crop((0.0, 0.0), 0.0, 0.0)
