"""Differences of two networks on the same pairs: by hand, against the binomial sum, and the slow bootstrap."""

import math
from fractions import Fraction

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.measure.compare import compare_results, compare_scores, mcnemar
from evaluate.measure.scores import write_scores


def test_mcnemar_by_hand():
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(1, 3) == mcnemar(3, 1) == pytest.approx(2 * (1 + 4) / 2**4)


@pytest.mark.parametrize(("a", "b"), [(1, 0), (3, 17), (40, 60), (700, 800), (1500, 1600)])
def test_mcnemar_is_twice_the_smaller_tail_of_a_fair_coin(a, b):
    tail = sum(math.comb(a + b, k) for k in range(min(a, b) + 1))
    assert mcnemar(a, b) == pytest.approx(min(1, 2 * Fraction(tail, 2 ** (a + b))), rel=1e-6)


def decisions(seed, num_pairs=400, a=0.9, b=0.85):
    rng = np.random.default_rng(seed)
    return rng.random(num_pairs) < a, rng.random(num_pairs) < b


def compare_decisions(correct):
    """Difference of the mean over protocols, from whether A and B decide each pair correctly."""
    labels = {name: np.arange(len(a)) % 2 == 0 for name, (a, _) in correct.items()}
    a, b = (
        {name: {"is_genuine": labels[name], "is_correct": pair[i]} for name, pair in correct.items()} for i in (0, 1)
    )
    return compare_scores(a, b)["mean"]


def test_interval_is_that_of_drawing_pairs_anew():
    a, b = decisions(0)
    difference = compare_decisions({"x": (a, b)})
    rng = np.random.default_rng(1)
    per_pair = a.astype(float) - b
    slow = [per_pair[rng.integers(0, 400, 400)].mean() for _ in range(10_000)]
    assert difference.value == pytest.approx(per_pair.mean())
    np.testing.assert_allclose([difference.low, difference.high], np.quantile(slow, [0.025, 0.975]), atol=0.004)
    assert (difference.only_a, difference.only_b) == ((per_pair > 0).sum(), (per_pair < 0).sum())


def test_mean_over_protocols_weighs_them_equally():
    small, large = decisions(1, 100), decisions(2, 1000)
    difference = compare_decisions({"small": small, "large": large})
    expected = np.mean([a.mean() - b.mean() for a, b in (small, large)])
    assert difference.value == pytest.approx(expected)


def test_swapping_the_networks_turns_the_sign():
    a, b = decisions(3)
    difference, swapped = compare_decisions({"x": (a, b)}), compare_decisions({"x": (b, a)})
    assert difference.value == -swapped.value
    assert difference.p_value == swapped.p_value
    assert difference.low == pytest.approx(-swapped.high, abs=0.003)


def test_equal_networks_do_not_differ():
    a, _ = decisions(4)
    difference = compare_decisions({"x": (a, a)})
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


def test_intervals_cover_the_truth():
    """95 % intervals of a true difference of 5 points contain it in about 95 % of 200 draws."""
    differences = [compare_decisions({"x": decisions(seed)}) for seed in range(200)]
    covers = [difference.low <= 0.05 <= difference.high for difference in differences]
    assert 0.9 <= np.mean(covers) <= 0.99


def scores(seed, names=("lfw",), num_pairs=40):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_pairs) % 2 == 0
    return {name: {"is_genuine": labels, "is_correct": rng.random(num_pairs) < 0.8} for name in names}


def test_only_shared_protocols_with_the_same_pairs_are_compared():
    differences = compare_scores(scores(0, ("lfw", "cfp_fp")), scores(1, ("cfp_fp", "calfw")))
    assert list(differences) == ["cfp_fp", "mean"]
    with pytest.raises(InputError, match="A has lfw, B has calfw: no protocol is shared; evaluate both on one"):
        compare_scores(scores(0), scores(1, ("calfw",)))
    with pytest.raises(InputError, match="lfw has different pairs in A and in B; evaluate both on the same file"):
        compare_scores(scores(0), scores(1, num_pairs=50))


def test_the_same_seed_gives_the_same_interval():
    a, b = scores(0), scores(1)
    assert compare_scores(a, b) == compare_scores(a, b)
    assert compare_scores(a, b, seed=1)["lfw"].p_value == compare_scores(a, b)["lfw"].p_value


def test_results_on_disk_are_compared_by_their_scores(tmp_path):
    a, b = scores(0), scores(1)
    for name, fields in (("a", a), ("b", b)):
        arrays = fields["lfw"] | {"scores": np.zeros(40), "fold": np.zeros(40, int)}
        write_scores(tmp_path / name / "scores.npz", {"lfw": arrays})
    assert compare_results(tmp_path / "a", str(tmp_path / "b")) == compare_scores(a, b)
    assert compare_results(tmp_path / "a", tmp_path / "a")["mean"].is_significant is False
    with pytest.raises(InputError, match=r"gone.npz is not a whole .npz"):
        compare_results(tmp_path / "a", tmp_path / "gone.json")
