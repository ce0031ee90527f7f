"""Seeded subsets: within the caps, fair, equal for equal seeds, and those of a slow obvious form."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.mixture.subset import Caps, choose_within


def slow_counts(counts, total):
    """Drop one image at a time from an identity that has most; returns the numbers of images, sorted."""
    counts = counts.copy()
    while counts.sum() > total:
        counts[counts.argmax()] -= 1
    return sorted(counts)


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_the_slow_form(seed):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(12), rng.integers(1, 9, 12)))
    for total in range(12, len(ids) + 1):
        chosen = choose_within(ids, Caps(images=total), seed=seed)
        assert sorted(np.bincount(ids[chosen])) == slow_counts(np.bincount(ids), total)


def test_identities_come_first_and_all_fit():
    ids = np.repeat(np.arange(100), 7)
    chosen = choose_within(ids, Caps(40, 200), seed=3)
    counts = np.bincount(ids[chosen], minlength=100)
    assert len(chosen) == 200
    assert sorted(set(counts)) == [0, 5]
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(choose_within(ids, Caps(100, 700), seed=3), np.arange(700))


def test_equal_seeds_give_equal_subsets():
    ids = np.repeat(np.arange(50), 9)
    first = choose_within(ids, Caps(20, 100), seed=1)
    assert np.array_equal(first, choose_within(ids, Caps(20, 100), seed=1))
    assert not np.array_equal(first, choose_within(ids, Caps(20, 100), seed=2))


def test_fewer_images_than_identities():
    with pytest.raises(InputError, match="a cap of 9 images is less than one image for each of 10 identities"):
        choose_within(np.repeat(np.arange(10), 3), Caps(images=9), seed=0)
