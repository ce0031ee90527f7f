"""Error rates of several groups -> measures of their inequality.

Every group is measured at the same threshold; with a threshold of its own each group would look fair. Legend: G groups;
leading dimensions, such as resamples, are kept.

| name | formula | fair value |
|---|---|---|
| fmr_max_min, fnmr_max_min | largest over smallest rate | 1 |
| fmr_max_geo, fnmr_max_geo | largest rate over the geometric mean (NIST, FRVT part 8) | 1 |
| fairness_discrepancy_rate | 1 - (alpha max difference of FMR + (1 - alpha) that of FNMR), arXiv 2011.02395 | 1 |
| inequity_rate | (max/min of FMR)^alpha (max/min of FNMR)^(1 - alpha) | 1 |
| garbe | alpha Gini(FMR) + (1 - alpha) Gini(FNMR), Howard et al., arXiv 2203.05051 | 0 |

At FMR 1e-3 the differences of FMR are near 1e-3, so that FNMR alone decides the fairness discrepancy rate. It is not
Fisher's discriminant ratio, which audits print and which shares its abbreviation.
"""

import numpy as np
from numpy.typing import NDArray

FAIREST = {
    "fmr_max_min": 1.0,
    "fmr_max_geo": 1.0,
    "fnmr_max_min": 1.0,
    "fnmr_max_geo": 1.0,
    "fairness_discrepancy_rate": 1.0,
    "inequity_rate": 1.0,
    "gini_fmr": 0.0,
    "gini_fnmr": 0.0,
    "garbe": 0.0,
}
"""Measure -> its value where all groups are equal."""
FALLS_WITH_INEQUALITY = "fairness_discrepancy_rate"
"""The one measure that is smaller, not larger, where groups differ more."""


def fairness_measures(
    fmr: NDArray,
    fnmr: NDArray,
    num_impostors: NDArray | None = None,
    num_genuine: NDArray | None = None,
    *,
    alpha: float = 0.5,
) -> dict[str, NDArray]:
    """Every measure of the table above, each of shape (...).

    A ratio is infinite where the smallest rate is 0. The geometric mean takes half an error in place of none, where
    the numbers of comparisons are given; without them its ratio is infinite too. A measure is NaN where a rate that it
    uses is NaN.

    Args:
        fmr: False match rate of each group, shape (..., G).
        fnmr: False non-match rate of each group, shape (..., G).
        num_impostors: Impostor comparisons of each group, broadcast to ``fmr``.
        num_genuine: Genuine comparisons of each group, broadcast to ``fnmr``.
        alpha: Weight of FMR, 0 to 1.
    """
    fmr, fnmr = np.asarray(fmr, dtype=np.float64), np.asarray(fnmr, dtype=np.float64)
    fmr_ratio, fnmr_ratio = max_over_min(fmr), max_over_min(fnmr)
    discrepancy = alpha * np.ptp(fmr, axis=-1) + (1 - alpha) * np.ptp(fnmr, axis=-1)
    gini_fmr, gini_fnmr = gini(fmr), gini(fnmr)
    return {
        "fmr_max_min": fmr_ratio,
        "fmr_max_geo": max_over_geometric_mean(fmr, num_impostors),
        "fnmr_max_min": fnmr_ratio,
        "fnmr_max_geo": max_over_geometric_mean(fnmr, num_genuine),
        "fairness_discrepancy_rate": 1 - discrepancy,
        "inequity_rate": fmr_ratio**alpha * fnmr_ratio ** (1 - alpha),
        "gini_fmr": gini_fmr,
        "gini_fnmr": gini_fnmr,
        "garbe": alpha * gini_fmr + (1 - alpha) * gini_fnmr,
    }


def max_over_min(rates: NDArray) -> NDArray:
    """Largest over smallest rate, shape (...); 1 where all are 0, infinite where only the smallest is."""
    low, high = rates.min(axis=-1), rates.max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(high == 0, 1.0, high / low)


def max_over_geometric_mean(rates: NDArray, num_comparisons: NDArray | None = None) -> NDArray:
    """Largest rate over the geometric mean of all, shape (...); a rate of 0 counts as half an error if possible."""
    if num_comparisons is not None:
        rates = np.where(rates == 0, 0.5 / np.maximum(num_comparisons, 1), rates)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.exp(np.log(rates).mean(axis=-1))
        high = rates.max(axis=-1)
        return np.where(high == 0, 1.0, high / mean)


def gini(rates: NDArray) -> NDArray:
    """Gini coefficient with the factor G / (G - 1) of Howard et al., shape (...): 0 all equal, 1 one group has all.

    NaN where a rate is NaN.
    """
    num_groups = rates.shape[-1]
    differences = np.abs(rates[..., :, None] - rates[..., None, :]).sum(axis=(-2, -1))
    mean = rates.mean(axis=-1)
    scale = num_groups / (num_groups - 1) / (2 * num_groups**2)
    return np.where(mean == 0, 0.0, scale * differences / np.where(mean == 0, 1, mean))
