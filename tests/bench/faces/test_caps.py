"""Seeded subsets: within the caps, fair, equal for equal seeds, and those of a slow obvious form."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.caps import Caps, choose_within


def slow_counts(counts, order, total):
    """Drop one image at a time from an identity that has most, the last of ``order`` first."""
    counts = counts.copy()
    while counts.sum() > total:
        most = [identity for identity in order if counts[identity] == counts.max()]
        counts[most[-1]] -= 1
    return counts


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_the_slow_form(seed):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(12), rng.integers(1, 9, 12)))
    order = np.random.default_rng(seed).permutation(12)
    for total in range(12, len(ids) + 1):
        chosen = choose_within(ids, Caps(total), seed)
        assert np.array_equal(np.bincount(ids[chosen]), slow_counts(np.bincount(ids), order, total))


def test_identities_come_first_and_all_fit():
    ids = np.repeat(np.arange(100), 7)
    chosen = choose_within(ids, Caps(200, 40), 3)
    counts = np.bincount(ids[chosen], minlength=100)
    assert len(chosen) == 200
    assert sorted(set(counts)) == [0, 5]
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(choose_within(ids, Caps(700, 100), 3), np.arange(700))


def test_equal_seeds_give_equal_subsets():
    ids = np.repeat(np.arange(50), 9)
    first = choose_within(ids, Caps(100, 20), 1)
    assert np.array_equal(first, choose_within(ids, Caps(100, 20), 1))
    assert not np.array_equal(first, choose_within(ids, Caps(100, 20), 2))


def test_fewer_images_than_identities():
    with pytest.raises(InputError, match="max_images=9 is less than the 10 identities; allow an image for each"):
        choose_within(np.repeat(np.arange(10), 3), Caps(9), 0)
