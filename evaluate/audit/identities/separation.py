"""Centres of identities -> number of unique identities, and the pairs that are too similar.

Two rules decide whether an identity is unique at a threshold of the cosine. By *kept*, a greedy rule, no earlier
identity that is itself unique may be nearer than the threshold. By *earlier*, no earlier identity at all may be nearer;
this is the rule of Vec2Face's ``inter-separability-measurement.py`` (docs/field.md, section 1.5).
Legend: C identities, D dimensions.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.vectors.nearest import nearest_centers
from bench.vectors.separation import separated

THRESHOLDS = (0.3, 0.4)
"""Cosines above which two centres count as one person."""
RULES: tuple[Literal["kept"], Literal["earlier"]] = ("kept", "earlier")


@dataclass(frozen=True)
class Separation:
    """Result of ``measure_separation``."""

    nearest_cosine: NDArray[np.float32]
    """Cosine of each centre to the nearest other one, shape (C,)."""
    nearest: NDArray[np.int64]
    """Identity of that other centre, shape (C,)."""
    is_unique: dict[tuple[float, str], NDArray[np.bool_]]
    """Threshold and rule -> whether each identity is unique, shape (C,); its running sum is the curve of the page."""


def measure_separation(centers: NDArray[np.float32], *, device: str = "cpu") -> Separation:
    """Unique identities at each threshold and rule.

    An identity with no other one above a threshold is unique by both rules, and does not affect the others. So only the
    remaining identities, few in a good dataset, are compared in order.

    Args:
        centers: Unit length, shape (C, D); C is at least 2.
        device: Torch device of the products.
    """
    cosines, nearest = nearest_centers(centers, centers, own=np.arange(len(centers)), device=device)
    is_unique: dict[tuple[float, str], NDArray[np.bool_]] = {}
    for threshold in THRESHOLDS:
        similar = np.flatnonzero(cosines > threshold)
        for rule in RULES:
            unique = np.ones(len(centers), dtype=bool)
            if similar.size:
                unique[similar] = separated(centers[similar], threshold, against=rule, device=device)
            is_unique[threshold, rule] = unique
    return Separation(cosines, nearest, is_unique)


def curve_points(num_identities: int) -> NDArray[np.int64]:
    """Numbers of identities at which the curve of unique identities is drawn: 10, 20, 50, 100, ... and all."""
    powers = 10 ** np.arange(1, 9)
    points = np.unique(np.concatenate([powers, 2 * powers, 5 * powers, [num_identities]]))
    return points[points <= num_identities]
