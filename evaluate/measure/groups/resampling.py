"""Uncertainty of errors by group: a bootstrap over identities, and the measures that shuffled labels give.

The bootstrap draws identities with replacement within each group. A genuine comparison counts as often as its person
was drawn, an impostor comparison as often as the product of both (as in ``measure/uncertainty/bootstrap.py``), and the
threshold is chosen anew in each resample. The largest of several rates, a ratio and a Gini coefficient exceed their
fair values by noise alone. Shuffled labels show by how much: the labels of the people are shuffled, and everything is
measured again. Legend: I identities, G groups, R resamples, S shuffles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluate.measure.groups.comparisons import Comparisons
from evaluate.measure.groups.fairness import FALLS_WITH_INEQUALITY, fairness_measures
from evaluate.measure.groups.rates import GroupedComparisons, Rates

NUM_RESAMPLES = 1000
NUM_SHUFFLES = 1000


@dataclass(frozen=True)
class GroupEstimate:
    """Rates of the groups and their measures, as measured and in each resample."""

    rates: Rates
    measures: dict[str, float]
    num_impostors: NDArray[np.float64]
    """Impostor comparisons of each group, shape (G,)."""
    num_genuine: NDArray[np.float64]
    """Genuine comparisons of each group, shape (G,)."""
    fmr: NDArray[np.float64]
    """In each resample, shape (R, G)."""
    fnmr: NDArray[np.float64]
    """In each resample, shape (R, G)."""
    thresholds: NDArray[np.float64]
    """In each resample, shape (R,)."""
    resampled_measures: dict[str, NDArray[np.float64]]
    """In each resample, shape (R,)."""


def estimate_groups(
    grouped: GroupedComparisons, fmr: float, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> GroupEstimate:
    """Rates by group at the threshold of ``fmr``, with resamples; the same seed draws the same people."""
    num_impostors, num_genuine = grouped.num_impostors(), grouped.num_genuine()
    rates = grouped.rates(fmr)
    rng = np.random.default_rng([seed, 1])
    resamples = [grouped.rates(fmr, _draw_identities(grouped.groups, rng)) for _ in range(num_resamples)]
    resampled_fmr = np.array([each.fmr for each in resamples])
    resampled_fnmr = np.array([each.fnmr for each in resamples])
    measures = fairness_measures(rates.fmr, rates.fnmr, num_impostors, num_genuine)
    return GroupEstimate(
        rates=rates,
        measures={name: float(value) for name, value in measures.items()},
        fmr=resampled_fmr,
        fnmr=resampled_fnmr,
        thresholds=np.array([each.threshold for each in resamples]),
        resampled_measures=fairness_measures(resampled_fmr, resampled_fnmr, num_impostors, num_genuine),
        num_impostors=num_impostors,
        num_genuine=num_genuine,
    )


def shuffled_measures(
    comparisons: Comparisons,
    groups: NDArray[np.integer],
    fmr: float,
    *,
    reference: int | None = None,
    num_shuffles: int = NUM_SHUFFLES,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Every measure with the group labels of the identities shuffled, each of shape (S,).

    Args:
        comparisons: All comparisons of the set, also those between groups: shuffling brings their people together.
        groups: Group of each identity, shape (I,); -1 for one that belongs to none, which stays so.
        fmr: Highest false match rate of the impostors that set the threshold.
        reference: Group whose impostors set the threshold; None takes all groups, equally weighted.
        num_shuffles: S.
        seed: Seed of the shuffles.
    """
    rng = np.random.default_rng([seed, 2])
    known = groups >= 0
    shuffled = groups.copy()
    draws = []
    for _ in range(num_shuffles):
        shuffled[known] = rng.permutation(groups[known])
        grouped = GroupedComparisons(comparisons, shuffled, reference)
        rates = grouped.rates(fmr)
        draws.append(fairness_measures(rates.fmr, rates.fnmr, grouped.num_impostors(), grouped.num_genuine()))
    return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}


def p_value(name: str, value: float, shuffled: NDArray) -> float:
    """Chance of a measure at least as unequal if labels were random; the measured value counts as one shuffle.

    Shuffles in which the measure is undefined (NaN) are left out.
    """
    sign = -1 if name == FALLS_WITH_INEQUALITY else 1
    known = shuffled[~np.isnan(shuffled)]
    num_as_unequal = int(np.count_nonzero(sign * known >= sign * value - 1e-12))
    return (1 + num_as_unequal) / (1 + len(known))


def middle_95(values: NDArray) -> tuple[float | None, float | None]:
    """The 2.5 and 97.5 per cent points of values, which may be infinite; an end that is not finite is None."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None, None
    ends = np.quantile(known, [0.025, 0.975], method="inverted_cdf")
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return low, high


def _draw_identities(groups: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each identity was drawn, shape (I,): as many draws in each group as it has identities."""
    counts = np.zeros(len(groups), dtype=np.int64)
    for group in range(int(groups.max()) + 1):
        members = np.flatnonzero(groups == group)
        counts += np.bincount(rng.choice(members, size=members.size), minlength=len(groups))
    return counts
