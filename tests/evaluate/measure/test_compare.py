"""Differences of two networks on the same pairs: answers by hand, against scipy, and against the slow bootstrap."""

import numpy as np
import pytest
from results import write_run
from scipy.stats import binomtest

from bench.errors import InputError
from evaluate.measure.compare import compare_decisions, compare_scores, describe_comparison, mcnemar, read_settings
from evaluate.measure.scores import write_scores


def test_mcnemar_by_hand():
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(1, 3) == mcnemar(3, 1) == pytest.approx(2 * (1 + 4) / 2**4)


@pytest.mark.parametrize(("a", "b"), [(1, 0), (3, 17), (40, 60), (700, 800), (5000, 5200)])
def test_mcnemar_is_the_exact_binomial_test(a, b):
    assert mcnemar(a, b) == pytest.approx(binomtest(a, a + b).pvalue, rel=1e-6)


def decisions(seed, num_pairs=400, a=0.9, b=0.85):
    rng = np.random.default_rng(seed)
    return rng.random(num_pairs) < a, rng.random(num_pairs) < b


def test_interval_is_that_of_drawing_pairs_anew():
    pair = decisions(0)
    found = compare_decisions({"x": pair})
    rng = np.random.default_rng(1)
    difference = pair[0].astype(float) - pair[1]
    slow = [difference[rng.integers(0, 400, 400)].mean() for _ in range(10_000)]
    assert found.value == pytest.approx(difference.mean())
    np.testing.assert_allclose([found.low, found.high], np.quantile(slow, [0.025, 0.975]), atol=0.004)
    assert (found.only_a, found.only_b) == ((difference > 0).sum(), (difference < 0).sum())


def test_mean_over_protocols_weighs_them_equally():
    small, large = decisions(1, 100), decisions(2, 1000)
    found = compare_decisions({"small": small, "large": large})
    expected = np.mean([one[0].mean() - one[1].mean() for one in (small, large)])
    assert found.value == pytest.approx(expected)


def test_swapping_the_networks_turns_the_sign():
    a, b = decisions(3)
    one, other = compare_decisions({"x": (a, b)}), compare_decisions({"x": (b, a)})
    assert one.value == -other.value
    assert one.p_value == other.p_value
    assert one.low == pytest.approx(-other.high, abs=0.003)


def test_equal_networks_do_not_differ():
    a, _ = decisions(4)
    found = compare_decisions({"x": (a, a)})
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_intervals_cover_the_truth():
    """95 % intervals of a true difference of 5 points hold it in about 95 % of 200 draws."""
    covered = [
        found.low <= 0.05 <= found.high for found in (compare_decisions({"x": decisions(s)}) for s in range(200))
    ]
    assert 0.9 <= np.mean(covered) <= 0.99


def scores(seed, names=("lfw",), num_pairs=40):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_pairs) % 2 == 0
    return {name: {"is_genuine": labels, "is_correct": rng.random(num_pairs) < 0.8} for name in names}


def test_only_shared_protocols_with_the_same_pairs_are_compared():
    found = compare_scores(scores(0, ("lfw", "cfp_fp")), scores(1, ("cfp_fp", "calfw")))
    assert list(found) == ["cfp_fp", "mean"]
    with pytest.raises(InputError, match="A has lfw, B has calfw: no protocol is shared; evaluate both on one"):
        compare_scores(scores(0), scores(1, ("calfw",)))
    with pytest.raises(InputError, match="lfw has other pairs in A than in B; evaluate both on the same file"):
        compare_scores(scores(0), scores(1, num_pairs=50))


def test_the_same_seed_gives_the_same_interval():
    a, b = scores(0), scores(1)
    assert compare_scores(a, b) == compare_scores(a, b)
    assert compare_scores(a, b, seed=1)["lfw"].p_value == compare_scores(a, b)["lfw"].p_value


def test_description_names_settings_and_verdict(tmp_path):
    a = write_run(tmp_path, seed=0)
    b = write_run(tmp_path, seed=1)
    labels = np.arange(400) % 2 == 0
    for folder, share in ((a, 0.95), (b, 0.5)):
        is_correct = np.random.default_rng(0).random(400) < share
        fields = {"scores": np.zeros(400), "is_genuine": labels, "fold": np.zeros(400), "is_correct": is_correct}
        write_scores(folder / "scores.npz", {"render_lfw": fields})
    text = describe_comparison(a, b)
    assert "  seed: 0 -> 1" in text
    assert "recipe.optimizer.lr" not in text  # equal, so not listed
    line = next(line for line in text.splitlines() if line.strip().startswith("render_lfw"))
    assert line.endswith("differs")
    same = describe_comparison(a, a)
    assert "  none differ" in same
    assert "McNemar p = 1: chance would do" in same


def test_changed_recipe_and_generator_are_listed(tmp_path):
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    card = tmp_path / "b" / "smoke" / "models" / "model0" / "model.json"
    card.write_text(card.read_text().replace('"lr": 0.1', '"lr": 0.05'))
    first, second = read_settings(a), read_settings(b)
    changed = {key for key in first if first[key] != second[key]}
    assert changed == {"recipe.optimizer.lr"}
    assert first["generator.kind"] == "render"
