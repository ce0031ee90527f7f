"""Two networks on the same people -> how much more unequal one is, with intervals on paired resamples.

Both networks are measured on the same faces at thresholds of their own, each set by the same false match rate. Every
resample draws the same people for both, so that the influence of the draw cancels.
"""

from dataclasses import dataclass

import numpy as np

from evaluate.measure.groups.comparisons import Comparisons
from evaluate.measure.groups.measure import Grouping, position_of
from evaluate.measure.groups.rates import GroupedComparisons
from evaluate.measure.groups.resampling import estimate_groups, middle_95


@dataclass(frozen=True)
class GroupDifference:
    """Value of the first network minus that of the second."""

    name: str
    """A measure, or ``FMR GROUP`` or ``FNMR GROUP``."""
    first: float
    second: float
    low: float | None
    high: float | None

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the 95 per cent interval of the difference leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def group_differences(
    first: Comparisons,
    second: Comparisons,
    grouping: Grouping,
    fmr: str,
    *,
    reference: str | None = None,
    seed: int = 0,
) -> list[GroupDifference]:
    """Differences of two networks: FMR and FNMR of every group, then every measure.

    Args:
        first: All comparisons of the set by the first network.
        second: Those by the second network, of the same faces in the same order.
        grouping: The attribute.
        fmr: False match rate that sets the threshold of each network.
        reference: Group whose impostors set the threshold; None takes all groups, equally weighted.
        seed: Seed of the bootstrap.

    Raises:
        InputError: If the reference is no group, or its threshold lies below all impostor scores that were kept.
    """
    position = position_of(reference, grouping)
    a, b = (
        estimate_groups(GroupedComparisons(each.for_fmr(float(fmr)), grouping.labels, position), float(fmr), seed=seed)
        for each in (first, second)
    )
    differences = []
    for group, name in enumerate(grouping.groups):
        for rate in ("fmr", "fnmr"):
            low, high = middle_95(getattr(a, rate)[:, group] - getattr(b, rate)[:, group])
            first_value, second_value = (float(getattr(each.rates, rate)[group]) for each in (a, b))
            differences.append(GroupDifference(f"{rate.upper()} {name}", first_value, second_value, low, high))
    for name in a.measures:
        with np.errstate(invalid="ignore"):
            low, high = middle_95(a.resampled_measures[name] - b.resampled_measures[name])
        differences.append(GroupDifference(name, a.measures[name], b.measures[name], low, high))
    return differences
