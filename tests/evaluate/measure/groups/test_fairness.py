"""Measures of inequality: the golden figures of four groups, cases by hand, and fairlearn as a witness."""

import numpy as np
import pytest

from evaluate.measure.groups.fairness import FAIREST, fairness_measures, gini, max_over_geometric_mean, max_over_min

FMR, FNMR = [0.001, 0.002, 0.004, 0.008], [0.05, 0.04, 0.06, 0.05]


def test_golden_figures_of_four_groups():
    found = fairness_measures(np.array(FMR), np.array(FNMR))
    golden = {
        "fmr_max_min": 8,
        "fnmr_max_min": 1.5,
        "fmr_max_geo": 2.8284271,
        "fnmr_max_geo": 1.2123093,
        "fairness_discrepancy_rate": 0.9865,
        "inequity_rate": 3.4641016,
        "gini_fmr": 0.5111111,
        "gini_fnmr": 0.1,
        "garbe": 0.3055556,
    }
    assert found.keys() == golden.keys() == FAIREST.keys()
    for name, value in golden.items():
        assert float(found[name]) == pytest.approx(value, abs=5e-8), name


def test_equal_groups_have_the_fairest_values():
    found = fairness_measures(np.full(3, 0.01), np.full(3, 0.2))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(FAIREST)


def test_a_zero_error_makes_the_ratio_infinite_and_counts_as_half_an_error_in_the_geometric_mean():
    rates = np.array([0.0, 0.01])
    assert max_over_min(rates) == np.inf
    assert max_over_geometric_mean(rates) == np.inf
    assert max_over_geometric_mean(rates, np.array([500, 500])) == pytest.approx(0.01 / np.sqrt(0.001 * 0.01))


def test_no_error_in_any_group_is_fair():
    assert max_over_min(np.zeros(3)) == 1
    assert gini(np.zeros(3)) == 0


def test_a_rate_that_is_not_known_makes_its_measures_unknown_and_never_fair():
    found = fairness_measures(np.array([0.01, 0.02]), np.array([np.nan, 0.3]))
    unknown = {name for name, value in found.items() if np.isnan(value)}
    assert unknown == {name for name in FAIREST if not name.endswith("fmr") and not name.startswith("fmr")}
    assert np.isnan(gini(np.array([[np.nan, 0.1], [0.1, 0.1]]))).tolist() == [True, False]


def test_one_group_with_all_errors_has_gini_one():
    assert gini(np.array([0, 0, 0, 0.3])) == pytest.approx(1)


def test_leading_dimensions_are_resamples():
    many = fairness_measures(np.array([FMR, FMR[::-1]]), np.array([FNMR, FNMR]))
    one = fairness_measures(np.array(FMR), np.array(FNMR))
    assert all(values.shape == (2,) for values in many.values())
    assert all(values == pytest.approx(float(one[name])) for name, values in many.items())


def test_alpha_weights_fmr():
    assert fairness_measures(np.array(FMR), np.array(FNMR), alpha=1)["garbe"] == pytest.approx(0.5111111)


def test_fairlearn_finds_the_same_rates_and_ratios():
    fairlearn = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed: pip install fairlearn")
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 3, 3000)
    is_genuine, score = rng.random(3000) < 0.4, rng.normal(size=3000)
    score[is_genuine] += 1 + groups[is_genuine] / 2
    accepted = score >= 0.8
    frame = fairlearn.MetricFrame(
        metrics={"fmr": fairlearn.false_positive_rate, "fnmr": fairlearn.false_negative_rate},
        y_true=is_genuine,
        y_pred=accepted,
        sensitive_features=groups,
    )
    fmr = np.array([accepted[~is_genuine & (groups == group)].mean() for group in range(3)])
    fnmr = np.array([(~accepted)[is_genuine & (groups == group)].mean() for group in range(3)])
    assert frame.by_group["fmr"].to_numpy() == pytest.approx(fmr)
    assert frame.by_group["fnmr"].to_numpy() == pytest.approx(fnmr)
    ours = fairness_measures(fmr, fnmr)
    assert 1 / frame.ratio()["fmr"] == pytest.approx(float(ours["fmr_max_min"]))
    assert frame.difference()["fnmr"] == pytest.approx(np.ptp(fnmr))
