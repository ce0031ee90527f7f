"""Precision, recall, density and coverage: known values, the obvious loops over all pairs, blocks, bad input."""

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.audit.quality.neighbours import covered_share, measure_overlap


def slow_overlap(features, real, k):
    """Distance by distance, as the definitions read."""
    ours, theirs = features.astype(float), real.astype(float)
    apart = np.array([[np.linalg.norm(a - b) for b in theirs] for a in ours])
    our_radii, real_radii = (
        np.array([np.sort([np.linalg.norm(a - b) for b in rows])[k] for a in rows]) for rows in (ours, theirs)
    )
    return {
        "precision": np.mean([(apart[i] < real_radii).any() for i in range(len(ours))]),
        "recall": np.mean([(apart[:, j] < our_radii).any() for j in range(len(theirs))]),
        "density": (apart < real_radii).sum() / (k * len(ours)),
        "coverage": np.mean([apart[:, j].min() < real_radii[j] for j in range(len(theirs))]),
    }


def test_the_values_of_prdc():
    """prdc 0.2 on two draws of N(0, I_64): .714 .736 .962 .969."""
    rng = np.random.default_rng(0)
    real, features = (rng.normal(size=(1000, 64)).astype(np.float32) for _ in range(2))
    overlap = measure_overlap(features, real, num_neighbours=5)
    assert overlap.precision == pytest.approx(0.714, abs=5e-4)
    assert overlap.recall == pytest.approx(0.736, abs=5e-4)
    assert overlap.density == pytest.approx(0.962, abs=5e-4)
    assert overlap.coverage == pytest.approx(0.969, abs=5e-4)


def test_a_set_against_itself():
    features = np.random.default_rng(1).normal(size=(700, 96)).astype(np.float32)
    overlap = measure_overlap(features, features, block_rows=100, block_columns=64)
    assert (overlap.precision, overlap.recall, overlap.coverage) == (1, 1, 1)
    assert overlap.density == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("block_rows", "block_columns"), [(1024, 8192), (7, 3), (1, 1000)])
@pytest.mark.parametrize("k", [1, 3])
def test_equal_to_the_slow_form(k, block_rows, block_columns):
    rng = np.random.default_rng(2)
    features, real = rng.normal(0.4, 1, (40, 6)), rng.normal(0, 0.7, (31, 6))
    overlap = measure_overlap(features, real, num_neighbours=k, block_rows=block_rows, block_columns=block_columns)
    assert vars(overlap) == pytest.approx(slow_overlap(features, real, k))
    assert covered_share(features, real, k) == pytest.approx(overlap.recall)


def test_many_copies_are_no_ball():
    copies = np.ones((10, 4), np.float32)
    overlap = measure_overlap(copies, copies)
    assert vars(overlap) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}  # as prdc: 0 < 0 is false


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((9, 4), (9, 5)), "width 4, the real faces of width 5; compute both with one network"),
        (((5, 4), (9, 4)), "the dataset has 5 rows; give at least 6"),
        (((9,), (9, 4)), r"shape \(9,\); give one row of features per image"),
    ],
)
def test_sets_that_cannot_be_compared(shapes, message):
    features, real = (np.random.default_rng(0).normal(size=shape) for shape in shapes)
    with pytest.raises(InputError, match=message):
        measure_overlap(features, real)


def test_a_value_that_is_not_finite_is_named():
    features, real = np.ones((9, 4)), np.ones((9, 4))
    real[6, 1] = np.nan
    with pytest.raises(InputError, match="the set of real faces is not finite, first in row 6"):
        measure_overlap(features, real)
    with pytest.raises(InputError, match="0 neighbours make no ball"):
        measure_overlap(features, features, num_neighbours=0)
