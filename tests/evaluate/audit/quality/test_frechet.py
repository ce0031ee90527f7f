"""Fréchet and kernel distance: closed forms, the textbook formula, and subsets in loops."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from bench.errors import InputError
from evaluate.audit.quality import frechet
from evaluate.audit.quality.frechet import frechet_distance, kernel_distance, mean_and_covariance


def two_sets(seed=0, num=400, dim=12):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dim, dim))
    return rng.normal(0.2, 1, (num, dim)) @ mix, rng.normal(0, 0.8, (num + 50, dim))


def test_frechet_of_known_distributions():
    """Exact moments: a shift by 3 and 4, and standard deviations 1 and 3 in one direction: 25 + (3 - 1)^2."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # covariance of the identity
    assert frechet_distance(corners, corners + np.array([3, 4])) == pytest.approx(25)
    assert frechet_distance(corners, corners * [3, 1] + [3, 4]) == pytest.approx(25 + 4)
    assert frechet_distance(corners, corners) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("block_rows", [16_384, 64])
def test_frechet_equals_the_textbook(monkeypatch, block_rows):
    monkeypatch.setattr(frechet, "_BLOCK_ROWS", block_rows)
    first, second = two_sets()
    (m1, s1), (m2, s2) = ((rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in (first, second))
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2)))
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-9)


def test_moments_far_from_zero_keep_their_digits():
    rows = np.random.default_rng(0).normal(1e4, 1, (1000, 3))
    mean, covariance = mean_and_covariance(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(rows, rowvar=False), rtol=1e-8)


def slow_discrepancy(first, second):
    def kernel(a, b):
        return (a @ b / len(a) + 1) ** 3

    n = len(first)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    within = sum(kernel(rows[i], rows[j]) for rows in (first, second) for i, j in pairs) / (n * (n - 1))
    return within - 2 * np.mean([kernel(a, b) for a in first for b in second])


def test_kernel_distance_equals_loops():
    first, second = (rows[:20] for rows in two_sets())
    distance = kernel_distance(first, second, num_subsets=3, subset_size=1000, seed=4)
    rng, expected = np.random.default_rng(4), []
    for _ in range(3):
        subsets = [rows[np.sort(rng.choice(20, 10, replace=False))] for rows in (first, second)]
        expected.append(slow_discrepancy(*subsets))
    assert distance.mean == pytest.approx(np.mean(expected))
    assert distance.std == pytest.approx(np.std(expected))
    assert distance.num_images == 10  # half of the set, so that subsets differ


def test_kernel_distance_is_unbiased_and_seeded():
    rows = np.random.default_rng(0).normal(size=(1000, 8))
    same = kernel_distance(rows[:500], rows[500:], subset_size=100)
    assert abs(same.mean) < 2 * same.std
    assert same == kernel_distance(rows[:500], rows[500:], subset_size=100)
    assert same != kernel_distance(rows[:500], rows[500:], subset_size=100, seed=1)


def test_features_of_two_networks_are_refused():
    with pytest.raises(InputError, match="width 4, the real faces of width 3"):
        frechet_distance(np.ones((9, 4)), np.ones((9, 3)))
    with pytest.raises(InputError, match="the set of real faces has 1 rows; give at least 4"):
        kernel_distance(np.ones((9, 4)), np.ones((1, 4)))
