"""Identity centres -> how many identities are unique, and which are too alike.

Rules: *kept* (greedy, an identity counts if no earlier one that counts is too near) and *earlier* (the official rule of
Vec2Face's ``inter-separability-measurement.py``: no earlier one at all is too near). Legend: C identities.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.vectors.nearest import nearest_centers
from bench.vectors.separation import separated

THRESHOLDS = (0.3, 0.4)
RULES: tuple[Literal["kept"], Literal["earlier"]] = ("kept", "earlier")


@dataclass(frozen=True)
class Separation:
    """Who is near whom."""

    nearest_cosine: NDArray[np.float32]
    """Cosine of each identity to the nearest other one, shape (C,)."""
    nearest: NDArray[np.int64]
    """Which one that is, shape (C,)."""
    is_unique: dict[tuple[float, str], NDArray[np.bool_]]
    """Threshold and rule -> whether each identity counts, shape (C,). Its running sum is the curve against N."""


def measure_separation(centers: NDArray[np.float32], *, device: str = "cpu") -> Separation:
    """Unique identities at each threshold and rule.

    An identity with no other one above a threshold is unique by either rule and makes no other one less so: only the
    rest, few in a good dataset, is compared again in order.

    Args:
        centers: Unit length, shape (C, D), C at least 2.
        device: Where the products are computed.
    """
    cosines, nearest = nearest_centers(centers, centers, own=np.arange(len(centers)), device=device)
    is_unique: dict[tuple[float, str], NDArray[np.bool_]] = {}
    for threshold in THRESHOLDS:
        crowded = np.flatnonzero(cosines > threshold)
        for rule in RULES:
            unique = np.ones(len(centers), dtype=bool)
            if crowded.size:
                unique[crowded] = separated(centers[crowded], threshold, against=rule, device=device)
            is_unique[threshold, rule] = unique
    return Separation(cosines, nearest, is_unique)


def curve_points(num_identities: int) -> NDArray[np.int64]:
    """Numbers of identities at which the curve is drawn: 10, 20, 50, 100, ... and all."""
    powers = 10 ** np.arange(1, 9)
    points = np.unique(np.concatenate([powers, 2 * powers, 5 * powers, [num_identities]]))
    return points[points <= num_identities]
