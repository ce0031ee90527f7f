"""The bootstrap against a slow one that draws resamples one by one, and the coverage of its intervals."""

import tracemalloc

import numpy as np
import pytest

from evaluate.measure.uncertainty import bootstrap
from evaluate.measure.uncertainty.bootstrap import interval, resampled_means


def slow_over_identities(values, identities, rng):
    """One resample of the vertex bootstrap: draw people, count each pair as often as its people, keep the shares."""
    people = np.unique(identities)
    drawn = list(rng.choice(people, len(people)))
    genuine, impostor = [], []
    for value, (first, second) in zip(values, identities, strict=True):
        if first == second:
            genuine += [value] * drawn.count(first)
        else:
            impostor += [value] * (drawn.count(first) * drawn.count(second))
    share = np.mean(identities[:, 0] == identities[:, 1])
    return share * np.mean(genuine or [0]) + (1 - share) * np.mean(impostor or [0])


def made_up_people(seed, num_people=30, num_pairs=240, hardness=0.0):
    """Pairs among few people. Pairs of a share ``hardness`` of the people are decided correctly half as often."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, num_people, num_pairs)
    other = (first + rng.integers(1, num_people, num_pairs)) % num_people
    identities = np.stack([first, np.where(np.arange(num_pairs) % 2 == 0, first, other)], axis=1)
    is_hard = rng.random(num_people) < hardness
    right = np.where(is_hard[identities].any(axis=1), 0.45, 0.9)
    return rng.random(num_pairs) < right, identities


def test_pairs_against_the_slow_way():
    values = np.random.default_rng(0).random(300) < 0.8
    rng = np.random.default_rng(1)
    slow = [values[rng.integers(0, 300, 300)].mean() for _ in range(5000)]
    fast = resampled_means(values)
    assert fast.shape == (bootstrap.NUM_RESAMPLES,)
    assert fast.mean() == pytest.approx(values.mean(), abs=0.002)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.05)
    np.testing.assert_allclose(interval(fast), np.quantile(slow, [0.025, 0.975]), atol=0.008)


def test_identities_against_the_slow_way():
    values, identities = made_up_people(0, hardness=0.3)
    rng = np.random.default_rng(1)
    slow = [slow_over_identities(values, identities, rng) for _ in range(600)]
    fast = resampled_means(values, identities=identities)
    assert fast.shape == (bootstrap.NUM_IDENTITY_RESAMPLES,)
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.01)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.15)


def test_blocks_change_nothing_but_the_order_of_drawing(monkeypatch):
    values, identities = made_up_people(2, hardness=0.3)
    whole = resampled_means(values, identities=identities)
    monkeypatch.setattr(bootstrap, "_NUMBERS_PER_BLOCK", 30 * 70)
    blocks = resampled_means(values, identities=identities)
    np.testing.assert_array_equal(blocks, whole)  # the generator hands out the same numbers, block by block


def test_memory_does_not_grow_with_resamples_times_pairs(monkeypatch):
    values, identities = made_up_people(2, num_people=40, num_pairs=4000)
    monkeypatch.setattr(bootstrap, "_NUMBERS_PER_BLOCK", 40_000)
    tracemalloc.start()
    resampled_means(values, identities=identities)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6  # 1,000 resamples of 4,000 pairs would be 32 MB


def test_the_same_seed_gives_the_same_means_and_another_seed_others():
    values, identities = made_up_people(3)
    for known in (None, identities):
        first = resampled_means(values, seed=1, identities=known)
        np.testing.assert_array_equal(first, resampled_means(values, seed=1, identities=known))
        assert not np.array_equal(first, resampled_means(values, seed=2, identities=known))


def test_people_that_share_pairs_widen_the_interval():
    """Resampling pairs gives too narrow an interval if some people are hard; if none are, both bootstraps agree."""
    widths = {}
    for hardness in (0.0, 0.3):
        values, identities = made_up_people(4, num_people=40, num_pairs=4000, hardness=hardness)
        widths[hardness] = [np.ptp(interval(resampled_means(values, identities=known))) for known in (None, identities)]
    assert widths[0.3][1] > 2 * widths[0.3][0]
    assert widths[0.0][1] < 1.8 * widths[0.0][0]


def test_one_kind_of_pair_and_perfect_scores():
    identities = np.array([[0, 0], [1, 1], [2, 2]])
    np.testing.assert_array_equal(resampled_means(np.ones(3), identities=identities), 1)
    assert interval(resampled_means(np.zeros(3))) == (0, 0)
