"""Several seeds of two sides: coverage of the interval, pairing by seed, and what is refused."""

import numpy as np
import pytest
from leaderboard_rows import add_result, add_scores

from bench.errors import InputError
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.leaderboard.difference import describe_seeds
from evaluate.measure.uncertainty.seeds import _difference, compare_seeds


def make_side(tmp_path, name, accuracies, seeds=None, **fields):
    folders = []
    for seed, accuracy in zip(seeds or range(len(accuracies)), accuracies, strict=True):
        folder = add_result(tmp_path, f"{name}{seed}", accuracy, protocols=("lfw", "cfp_fp"), seed=seed)
        card = read_card(folder, ResultCard)
        write_card(folder, card.model_copy(update={"scale": name, "name": name} | fields))
        folders.append(add_scores(folder))
    return folders


def test_difference_of_equal_seeds(tmp_path):
    a, b = make_side(tmp_path, "a", [0.9, 0.92, 0.91]), make_side(tmp_path, "b", [0.8, 0.82, 0.81])
    difference = compare_seeds(a, list(reversed(b)))["mean"]
    assert difference.value == pytest.approx(0.1, abs=0.002)
    assert difference.per_seed == pytest.approx((0.1, 0.1, 0.1), abs=0.003)
    assert difference.is_significant
    assert difference.low < difference.value < difference.high
    text = describe_seeds(a, b)
    assert "over 3 and 3 seeds, points; equal seeds are compared:" in text
    assert text.splitlines()[-1].endswith("significant (p < 0.05)")
    again = compare_seeds(a, b)["mean"]
    assert again == difference


def test_other_seeds_are_not_paired(tmp_path):
    a = make_side(tmp_path, "a", [0.9, 0.8])
    b = make_side(tmp_path, "b", [0.88, 0.78, 0.83], seeds=[3, 4, 5])
    difference = compare_seeds(a, b)["mean"]
    assert difference.per_seed == ()
    assert not difference.is_significant
    expected = np.var([0.9, 0.8], ddof=1) / 2 + np.var([0.88, 0.78, 0.83], ddof=1) / 3
    assert difference.seed_error == pytest.approx(expected**0.5, rel=0.05)
    assert "the sides have other seeds" in describe_seeds(a, b)


def test_seed_and_pair_errors_against_the_formulas():
    a, b = np.array([0.9, 0.92, 0.94]), np.array([0.8, 0.84, 0.85])
    difference = _difference(a, b, 1e-4, is_paired=True)
    assert difference.seed_error**2 == pytest.approx(np.var(a - b, ddof=1) / 3)
    assert difference.pair_error == pytest.approx(0.01)
    only_seeds = _difference(a, b, 0.0, is_paired=True)
    margin = 4.302653 * np.std(a - b, ddof=1) / 3**0.5  # Student's t with two degrees of freedom
    assert only_seeds.high - only_seeds.value == pytest.approx(margin, rel=1e-5)
    same = _difference(a, a, 0.0, is_paired=True)
    assert (same.low, same.high, same.p_value) == (0, 0, 1)


def test_coverage_where_nothing_differs():
    """Interval over 3 seeds and 400 pairs: 95 % hold 0, where an interval over pairs alone holds it far less often."""
    rng = np.random.default_rng(0)
    hits, pair_hits = 0, 0
    for _ in range(400):
        difficulty = rng.normal(1.2, 1, 400)
        sides = [rng.normal(0, 0.15, 3)[:, None] + difficulty + rng.normal(0, 0.5, (3, 400)) > 0 for _ in range(2)]
        mean_difference = sides[0].mean(axis=0) - sides[1].mean(axis=0)
        variance = mean_difference.var() / 400
        difference = _difference(*(side.mean(axis=1) for side in sides), variance, is_paired=True)
        hits += difference.low <= 0 <= difference.high
        pair_hits += abs(difference.value) <= 1.96 * variance**0.5
    assert hits / 400 >= 0.93
    assert pair_hits / 400 < 0.85


def test_what_is_refused(tmp_path):
    a, b = make_side(tmp_path, "a", [0.9, 0.92]), make_side(tmp_path, "b", [0.8, 0.82])
    with pytest.raises(InputError, match="B has 1 result; give two seeds or more of both sides, or one of each"):
        compare_seeds(a, b[:1])
    with pytest.raises(InputError, match="A holds seed 0 twice; give one result of each seed"):
        compare_seeds([a[0], a[0]], b)
    with pytest.raises(InputError, match=r"A holds results of several settings \(a, b\); give seeds of one setting"):
        compare_seeds([a[0], b[1]], b)
    card = read_card(b[1], ResultCard)
    other = card.protocols["lfw"].model_copy(update={"sha256": "1" * 64})
    write_card(b[1], card.model_copy(update={"protocols": card.protocols | {"lfw": other}}))
    with pytest.raises(InputError, match="lfw was measured on different copies"):
        compare_seeds(a, b)
