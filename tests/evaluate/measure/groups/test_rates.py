"""Rates by group: all comparisons against a slow loop, thresholds and weights against the definition."""

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.measure.groups import comparisons as module
from evaluate.measure.groups.comparisons import compare_all
from evaluate.measure.groups.rates import GroupedComparisons


def make_people(num_identities=12, images=3, dimensions=6, seed=0):
    """Unit embeddings and identities; people differ more than images of one person."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(num_identities, dimensions))
    identity_ids = np.repeat(np.arange(num_identities), images)
    embeddings = centers[identity_ids] + 0.4 * rng.normal(size=(len(identity_ids), dimensions))
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32), identity_ids


def slow_rates(embeddings, identity_ids, groups, fmr, weights, reference=None):
    """FMR and FNMR of each group, by trying every score as the highest that is rejected."""
    embeddings = embeddings.astype(np.float64)
    num_groups = groups.max() + 1
    genuine, impostor = [], []
    for a in range(len(embeddings)):
        for b in range(a):
            i, j = identity_ids[a], identity_ids[b]
            score = np.float32(embeddings[a] @ embeddings[b])
            if i == j:
                genuine.append((score, groups[i], weights[i]))
            elif groups[i] == groups[j]:
                impostor.append((score, groups[i], weights[i] * weights[j]))

    def rate(rows, group, is_error):
        total = sum(weight for _, own, weight in rows if own == group)
        return sum(weight for score, own, weight in rows if own == group and is_error(score)) / total

    for rejected in sorted({-np.inf, *(score for score, _, _ in impostor)}):
        fmrs = [rate(impostor, group, lambda score, limit=rejected: score > limit) for group in range(num_groups)]
        if (np.mean(fmrs) if reference is None else fmrs[reference]) <= fmr + 1e-12:
            return (
                fmrs,
                [rate(genuine, group, lambda score, limit=rejected: score <= limit) for group in range(num_groups)],
                rejected,
            )
    raise AssertionError


@pytest.mark.parametrize("reference", [None, 1])
@pytest.mark.parametrize("fmr", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_rates_equal_the_definition(fmr, weighted, reference):
    embeddings, identity_ids = make_people()
    groups = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    weights = np.array([1, 2, 0, 1, 1, 1, 3, 0, 1, 1, 1, 1]) if weighted else np.ones(12, int)
    grouped = GroupedComparisons(compare_all(embeddings, identity_ids, highest_fmr=0.5), groups, reference)
    found = grouped.rates(fmr, weights if weighted else None)
    slow_fmr, slow_fnmr, rejected = slow_rates(embeddings, identity_ids, groups, fmr, weights, reference)
    assert found.fmr == pytest.approx(slow_fmr)
    assert found.fnmr == pytest.approx(slow_fnmr)
    assert found.threshold == pytest.approx(float(rejected), abs=1e-6)


def test_ties_are_accepted_or_rejected_together():
    embeddings = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 2, 3, 3]]
    grouped = GroupedComparisons(
        compare_all(embeddings, np.repeat(np.arange(4), 2), highest_fmr=0.5), np.array([0, 0, 1, 1])
    )
    found = grouped.rates(0.5)  # all impostors have score 0: none can be accepted at FMR 0.5
    assert found.fmr.tolist() == [0, 0]
    assert found.fnmr.tolist() == [0, 0]
    assert grouped.num_impostors().tolist() == [4, 4]
    assert grouped.num_genuine().tolist() == [2, 2]


def test_people_without_a_group_take_no_part():
    embeddings, identity_ids = make_people()
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1, -1, -1, -1])
    with_them = GroupedComparisons(compare_all(embeddings, identity_ids, highest_fmr=0.5), groups).rates(0.1)
    without = GroupedComparisons(compare_all(embeddings[:24], identity_ids[:24], highest_fmr=0.5), groups[:8]).rates(
        0.1
    )
    assert with_them.fmr.tolist() == without.fmr.tolist()
    assert with_them.threshold == without.threshold


def test_the_size_of_a_block_changes_nothing():
    embeddings, identity_ids = make_people(40, 4)
    whole = compare_all(embeddings, identity_ids, highest_fmr=0.05)
    for block in (1, 7, 64):
        parts = compare_all(embeddings, identity_ids, highest_fmr=0.05, block=block)
        assert np.array_equal(parts.impostor_scores, whole.impostor_scores)
        assert np.array_equal(np.sort(parts.genuine_scores), np.sort(whole.genuine_scores))


def test_only_the_tail_is_kept_and_gives_the_same_rates(monkeypatch):
    embeddings, identity_ids = make_people(60, 4)
    groups = np.arange(60) % 3
    whole = compare_all(embeddings, identity_ids, highest_fmr=1)
    monkeypatch.setattr(module, "MIN_KEPT", 10)
    tail = compare_all(embeddings, identity_ids, highest_fmr=0.01)
    assert whole.is_complete and not tail.is_complete
    assert 0.2 * whole.num_impostors <= len(tail.impostor_scores) < 0.3 * whole.num_impostors
    assert np.array_equal(tail.impostor_scores, whole.impostor_scores[: len(tail.impostor_scores)])
    for fmr in (0.001, 0.01):
        a, b = (GroupedComparisons(each, groups).rates(fmr) for each in (whole, tail))
        assert a.fmr.tolist() == b.fmr.tolist() and a.fnmr.tolist() == b.fnmr.tolist() and a.threshold == b.threshold


@pytest.fixture
def biased(monkeypatch):
    """Embeddings by which the people of group 0 are far more alike than those of group 1, identities and groups."""
    monkeypatch.setattr(module, "MIN_KEPT", 10)
    embeddings, identity_ids = make_people(60, 4, dimensions=20)
    groups = np.repeat([0, 1], 30)
    embeddings[groups[identity_ids] == 0] += (2, *[0] * 19)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), identity_ids, groups


@pytest.mark.parametrize("reference", [None, 0, 1])
def test_a_network_biased_towards_one_group_has_the_same_rates_as_of_all_comparisons(biased, reference):
    embeddings, identity_ids, groups = biased
    whole = compare_all(embeddings, identity_ids, highest_fmr=1)
    tail = compare_all(embeddings, identity_ids, highest_fmr=0.01, groupings=[groups])
    assert len(tail.impostor_scores) < 0.9 * len(whole.impostor_scores)
    a, b = (GroupedComparisons(each.for_fmr(0.01), groups, reference) for each in (whole, tail))
    assert b.num_kept(1) < 0.01 * b.num_impostors()[1] <= b.whole.num_kept(1)
    weights = np.random.default_rng(0).integers(0, 3, 60)
    for own in (None, weights):
        x, y = a.rates(0.01, own), b.rates(0.01, own)
        assert x.fmr.tolist() == y.fmr.tolist() and x.fnmr.tolist() == y.fnmr.tolist() and x.threshold == y.threshold


def test_a_threshold_below_the_kept_scores_is_refused(biased, monkeypatch):
    embeddings, identity_ids, groups = biased
    monkeypatch.setattr(module, "_MAX_KEPT_FOR_GROUPS", 1)
    few = compare_all(embeddings, identity_ids, highest_fmr=0.01, groupings=[groups])
    assert len(few.impostor_scores) < 0.25 * few.num_impostors
    assert GroupedComparisons(few, groups).rates(0.01).fmr[1] == 0
    with pytest.raises(InputError, match=r"threshold of FMR 0\.01 lies below the 5,\d+ highest .* another --reference"):
        GroupedComparisons(few, groups, reference=1).rates(0.01)


def test_a_det_curve_is_the_fnmr_at_the_group_s_own_fmr():
    embeddings, identity_ids = make_people()
    groups = np.arange(12) % 2
    grouped = GroupedComparisons(compare_all(embeddings, identity_ids, highest_fmr=0.5), groups)
    for fmr in (0.05, 0.2):
        only = GroupedComparisons(compare_all(embeddings, identity_ids, highest_fmr=0.5), groups, reference=1)
        assert grouped.curve(1, np.array([fmr]))[0] == only.rates(fmr).fnmr[1]


def test_embeddings_that_are_not_finite_or_not_unit_are_refused():
    embeddings, identity_ids = make_people()
    with pytest.raises(InputError, match="length 3"):
        compare_all(3 * embeddings, identity_ids, highest_fmr=0.1)
    embeddings[5, 0] = np.nan
    with pytest.raises(InputError, match="1 of 36 are not finite, the first in row 5"):
        compare_all(embeddings, identity_ids, highest_fmr=0.1)
    with pytest.raises(InputError, match="1 identities cannot be compared"):
        compare_all(embeddings[:3], identity_ids[:3], highest_fmr=0.1)
