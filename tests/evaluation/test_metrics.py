"""The metrics library against an independent implementation, and against cases one can work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch

from maskhand.errors import InputError
from maskhand.evaluation import metrics


def reference_procrustes(points: np.ndarray, target: np.ndarray, reflection: bool) -> np.ndarray:
    """One pair, by scipy's orthogonal_procrustes on normalised sets, as FreiHAND describes it; det +1 by Kabsch."""
    mean, mean_t = points.mean(0), target.mean(0)
    p, t = points - mean, target - mean_t
    size, size_t = np.linalg.norm(p), np.linalg.norm(t)
    if size == 0:
        return np.tile(mean_t, (len(points), 1))
    p, t = p / size, t / size_t
    if reflection:
        rotation, scale = scipy.linalg.orthogonal_procrustes(p, t)
    else:
        u, s, vt = np.linalg.svd(p.T @ t)
        sign = np.ones(3)
        sign[2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
        rotation, scale = u @ np.diag(sign) @ vt, (s * sign).sum()
    return p @ rotation * scale * size_t + mean_t


def hands(count: int, points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(count, points, 3))
    return target + 0.3 * rng.normal(size=target.shape), target


@pytest.mark.parametrize("reflection", [False, True])
@pytest.mark.parametrize("points", [4, 21, 778])
def test_procrustes_agrees_with_scipy(points, reflection) -> None:
    found, target = hands(8, points, 1)
    found[::2] *= [-1, 1, 1]  # mirrored ones
    found[3] = 2.5 * found[3] @ scipy.spatial.transform.Rotation.from_rotvec([1, 2, 0.5]).as_matrix() + 7
    ours = metrics.align_procrustes(found, target, allow_reflection=reflection)
    expected = np.stack([reference_procrustes(p, t, reflection) for p, t in zip(found, target, strict=True)])
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize("case", ["point", "line", "plane", "same"])
def test_degenerate_sets(case) -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=(1, 21, 3))
    found = {
        "point": np.ones((1, 21, 3)),
        "line": rng.normal(size=(1, 21, 1)) * [1.0, 2, 3],
        "plane": rng.normal(size=(1, 21, 3)) * [1, 1, 0],
        "same": target.copy(),
    }[case]
    ours = metrics.align_procrustes(found, target)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(
        metrics.mean_error(ours, target),
        np.linalg.norm(reference_procrustes(found[0], target[0], False) - target[0], axis=1).mean(),
        atol=1e-6,
    )


def test_a_single_joint_goes_onto_its_target() -> None:
    found, target = np.array([[[1.0, 2, 3]]]), np.array([[[4.0, 4, 4]]])
    np.testing.assert_allclose(metrics.align_procrustes(found, target), target, atol=1e-9)
    assert metrics.mean_error(found, target) == pytest.approx(np.sqrt(9 + 4 + 1))


def test_a_mirrored_hand_is_free_only_where_reflections_are_allowed() -> None:
    _, target = hands(1, 21, 3)
    mirrored = target * [-1, 1, 1]
    assert metrics.mean_error(metrics.align_procrustes(mirrored, target, allow_reflection=True), target) < 1e-9
    assert metrics.mean_error(metrics.align_procrustes(mirrored, target), target) > 0.1


def test_f_score_agrees_with_nearest_neighbours_of_scipy() -> None:
    rng = np.random.default_rng(4)
    found, target = rng.random((3, 300, 3)) / 20, rng.random((3, 200, 3)) / 20
    for k, value in enumerate(metrics.f_score(found, target, threshold=0.005)):
        precision = (scipy.spatial.cKDTree(target[k]).query(found[k])[0] < 0.005).mean()
        recall = (scipy.spatial.cKDTree(found[k]).query(target[k])[0] < 0.005).mean()
        assert value == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)


def test_f_score_by_hand() -> None:
    target = np.array([[[0.0, 0, 0], [1.0, 0, 0]]])
    assert metrics.f_score(target, target, threshold=0.1) == 1
    assert metrics.f_score(target + 5, target, threshold=0.1) == 0
    half = np.array([[[0.0, 0, 0], [9.0, 0, 0], [9.0, 0, 0], [9.0, 0, 0]]])  # precision 1 / 4, recall 1 / 2
    assert metrics.f_score(half, target, threshold=0.1) == pytest.approx(1 / 3)
    assert metrics.f_score(target + [0.1, 0, 0], target, threshold=0.1) == 0  # nearer than, not at


def test_auc_by_hand() -> None:
    assert metrics.curve_area(np.zeros((1, 5)), maximum=0.05) == pytest.approx(1)
    assert metrics.curve_area(np.full((1, 5), 0.06), maximum=0.05) == 0
    # Errors 0 and 1.5 of 2: thresholds 0, 1, 2 -> shares 1/2, 1/2, 1 -> (1/2 + 3/4) / 2.
    assert metrics.curve_area(np.array([[0.0, 1.5]]), maximum=2.0, steps=3) == pytest.approx(0.625)


def test_auc_agrees_with_numpy_keypoint_by_keypoint() -> None:
    errors = np.random.default_rng(5).exponential(0.02, (40, 21))
    thresholds = np.linspace(0, 0.05, 100)
    per_keypoint = [
        np.trapezoid([(errors[:, k] <= t).mean() for t in thresholds], thresholds)
        / np.trapezoid(np.ones(100), thresholds)
        for k in range(21)
    ]
    assert metrics.curve_area(errors, maximum=0.05).mean() == pytest.approx(np.mean(per_keypoint), abs=1e-9)


def test_pck_by_hand() -> None:
    target = np.zeros((2, 3, 2))
    found = np.array([[[0.0, 0], [9.9, 0], [10.1, 0]], [[20.0, 0], [0.0, 0], [0.0, 0]]])
    hits = metrics.keypoint_hits(found, target, np.array([100.0, 100.0]), threshold=0.1)
    np.testing.assert_array_equal(hits, [[True, True, False], [False, True, True]])
    every = np.ones((2, 3), bool)
    assert metrics.pck(hits, every) == pytest.approx((0.5 + 1 + 0.5) / 3)
    some = np.array([[True, False, False], [False, True, False]])  # the third joint was never annotated
    assert metrics.pck(hits, some) == pytest.approx(1)
    assert metrics.pck(hits, every, np.array([2.0, 0.0])) == pytest.approx(2 / 3)


def test_scale_translation_alignment_by_hand() -> None:
    rng = np.random.default_rng(6)
    target = rng.normal(size=(5, 21, 3))
    moved = 3 * target + [1, 2, 3]
    np.testing.assert_allclose(metrics.align_scale_translation(moved, target), target, atol=1e-9)
    turned = target @ scipy.spatial.transform.Rotation.from_rotvec([0, 0, 1]).as_matrix()
    assert metrics.mean_error(metrics.align_scale_translation(turned, target), target).min() > 0.1


def test_root_alignment() -> None:
    found, target = hands(2, 21, 7)
    aligned = metrics.align_root(found, target, root=9)
    np.testing.assert_allclose(aligned[:, 9], target[:, 9])
    np.testing.assert_allclose(aligned - aligned[:, :1], found - found[:, :1])


@pytest.mark.parametrize(
    "measure",
    [
        metrics.mean_error,
        metrics.distances,
        metrics.align_procrustes,
        metrics.align_root,
        metrics.align_scale_translation,
        lambda p, t: metrics.f_score(p, t, threshold=0.3),
    ],
)
def test_numpy_and_torch_give_the_same_in_kind(measure) -> None:
    found, target = hands(3, 21, 8)
    plain, tensor = measure(found, target), measure(torch.from_numpy(found), torch.from_numpy(target))
    assert isinstance(plain, np.ndarray) and isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(plain, tensor.numpy())
    np.testing.assert_allclose(measure(found[0], target[0]), plain[0], atol=1e-12)  # one sample alone


def test_point_sets_that_do_not_match_are_refused() -> None:
    with pytest.raises(InputError, match="must be the same points"):
        metrics.mean_error(np.zeros((1, 21, 3)), np.zeros((1, 20, 3)))


def test_the_bootstrap_covers_the_mean_of_a_normal_sample() -> None:
    """Of 200 samples of 50, about 95 % of the intervals hold the true mean: a binomial's 4-sigma band."""
    rng = np.random.default_rng(9)
    held = 0
    for k in range(200):
        values = rng.normal(3.0, 1.0, 50)
        low, high = metrics.bootstrap_interval(lambda w, v=values: float(w @ v / 50), 50, draws=300, seed=k)
        held += low <= 3.0 <= high
    assert 172 <= held <= 200
