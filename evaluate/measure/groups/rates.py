"""All comparisons of a set and a group for each identity -> FMR and FNMR of each group at one threshold.

The threshold is the loosest whose false match rate does not exceed the wanted one, and accepts a score at or above it.
Its false match rate is the mean over the groups, so that a group does not count more for having more faces; or that of
one named group. An impostor comparison belongs to a group if both its people do. Legend: I identities, G groups.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from evaluate.measure.groups.comparisons import Comparisons

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rates:
    """Error rates of the groups, each of shape (G,), and the threshold; NaN for a group without comparisons."""

    fmr: NDArray[np.float64]
    fnmr: NDArray[np.float64]
    threshold: float


class GroupedComparisons:
    """The comparisons within groups, prepared for fast rates under any weights of the identities."""

    def __init__(self, comparisons: Comparisons, groups: NDArray[np.integer], reference: int | None = None) -> None:
        """Select the comparisons within groups.

        Args:
            comparisons: All comparisons of the set.
            groups: Group of each identity, shape (I,), 0 .. G - 1; -1 for one that belongs to none.
            reference: Group whose impostors set the threshold; None takes all groups, equally weighted.
        """
        self.num_groups = int(groups.max()) + 1
        self.groups = groups
        self.num_images = comparisons.num_images.astype(np.float64)
        self._reference = reference
        first, second = comparisons.impostor_identities.T
        within = (groups[first] == groups[second]) & (groups[first] >= 0)
        self._first, self._second = first[within], second[within]
        self.impostor_scores = comparisons.impostor_scores[within]
        self.impostor_groups = groups[self._first]
        self._first_of_ties = _first_of_ties(self.impostor_scores)
        known = groups[comparisons.genuine_identities] >= 0
        self.genuine_scores = comparisons.genuine_scores[known]
        self._genuine_identities = comparisons.genuine_identities[known]
        self.genuine_groups = groups[self._genuine_identities]
        self._comparisons = comparisons

    @cached_property
    def whole(self) -> "GroupedComparisons":
        """The same with every impostor that was kept."""
        whole = self._comparisons.whole
        return self if whole is None else GroupedComparisons(whole, self.groups, self._reference)

    def num_kept(self, group: int) -> int:
        """Impostor comparisons of a group that are at hand."""
        return int(np.count_nonzero(self.impostor_groups == group))

    def num_impostors(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """Impostor comparisons within each group, weighted by the product of the weights of both people, (G,)."""
        return impostors_within(self.num_images if weights is None else self.num_images * weights, self.groups)

    def num_genuine(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """Genuine comparisons of each group, weighted by the person, (G,)."""
        return genuine_within(self.num_images, self.groups, weights)

    def rates(self, fmr: float, weights: NDArray | None = None) -> Rates:
        """Rates at the threshold that ``fmr`` sets.

        Args:
            fmr: Highest false match rate of the impostors that set the threshold.
            weights: How often each identity counts, shape (I,); None counts each once.

        Raises:
            InputError: If the threshold lies below all impostor scores that were kept.
        """
        weights = np.ones(len(self.num_images)) if weights is None else weights.astype(np.float64)
        num_impostors, num_genuine = self.num_impostors(weights), self.num_genuine(weights)
        impostor_weights = weights[self._first] * weights[self._second]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(num_impostors > 0, 1 / num_impostors, 0.0)
            if self._reference is None:
                shares_of_all = shares / max(np.count_nonzero(num_impostors), 1)
            else:
                shares_of_all = np.where(np.arange(self.num_groups) == self._reference, shares, 0.0)
            accepted = np.cumsum(impostor_weights * shares_of_all[self.impostor_groups])
            position = int(np.searchsorted(accepted, fmr * (1 + _ROUNDING), side="right"))
            if position < len(accepted):
                rejected, num_accepted = self.impostor_scores[position], int(self._first_of_ties[position])
            elif self._comparisons.is_complete:
                rejected, num_accepted = np.float32(-np.inf), position
            elif self.whole is not self:
                return self.whole.rates(fmr, weights)
            else:
                raise InputError(
                    f"the threshold of FMR {fmr:g} lies below the {len(self._comparisons.impostor_scores):,} highest "
                    "impostor scores, which are all that is kept; set it by another --reference"
                )
            false_matches = np.bincount(
                self.impostor_groups[:num_accepted], impostor_weights[:num_accepted], self.num_groups
            )
            is_missed = self.genuine_scores <= rejected
            missed = np.bincount(
                self.genuine_groups[is_missed], weights[self._genuine_identities[is_missed]], self.num_groups
            )
            threshold = float(np.nextafter(np.float32(rejected), np.float32(np.inf)))
            return Rates(false_matches / num_impostors, missed / num_genuine, threshold)

    def curve(self, group: int, fmrs: NDArray) -> NDArray[np.float64]:
        """FNMR of one group where its own FMR is at most each of ``fmrs``: its DET. Needs an impostor of the group."""
        impostors = self.impostor_scores[self.impostor_groups == group]
        genuine = np.sort(self.genuine_scores[self.genuine_groups == group])
        positions = np.floor(fmrs * self.num_impostors()[group] * (1 + _ROUNDING)).astype(int)
        rejected = impostors[np.minimum(positions, len(impostors) - 1)]
        return np.asarray(np.searchsorted(genuine, rejected, side="right") / genuine.size, dtype=np.float64)


def impostors_within(num_images: NDArray, groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Impostor comparisons within each group, shape (G,), of people with ``num_images`` images each, shape (I,)."""
    return (_sums(num_images, groups) ** 2 - _sums(num_images**2, groups)) / 2


def genuine_within(
    num_images: NDArray, groups: NDArray[np.integer], weights: NDArray | None = None
) -> NDArray[np.float64]:
    """Genuine comparisons of each group, shape (G,), each weighted by its person's weight, shape (I,)."""
    pairs = num_images * (num_images - 1) / 2
    return _sums(pairs if weights is None else pairs * weights, groups)


def _sums(values: NDArray, groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sum of the values of each group, shape (G,)."""
    known = groups >= 0
    num_groups = int(groups.max()) + 1
    return np.bincount(groups[known], weights=values[known], minlength=num_groups).astype(np.float64)


def _first_of_ties(scores: NDArray) -> NDArray[np.int64]:
    """Position of the first of the equal scores, for each of the falling scores."""
    is_first = np.append(True, scores[1:] != scores[:-1]) if scores.size else np.empty(0, dtype=bool)
    return np.maximum.accumulate(np.where(is_first, np.arange(scores.size), 0))
