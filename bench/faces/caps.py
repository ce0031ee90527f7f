"""A seeded subset of a face dataset that fits a largest number of identities and of images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError


@dataclass(frozen=True)
class Caps:
    """Largest size of a dataset."""

    max_images: int
    max_identities: int | None = None
    """None: any number."""


def choose_within(identity_ids: NDArray[np.int64], caps: Caps, seed: int) -> NDArray[np.int64]:
    """Positions of a random subset that fits the caps, ascending, shape (M,); all positions if everything fits.

    First identities are drawn. Then images are dropped, one at a time, at random, from whichever identity has most: so
    every identity keeps the same number of images, or all that it has. Equal seeds give equal subsets.

    Args:
        identity_ids: Identity of each face, shape (N,), 0 .. number of identities - 1.
        caps: Largest size.
        seed: Seed of the draws.

    Raises:
        InputError: If fewer images are allowed than identities remain.
    """
    rng = np.random.default_rng(seed)
    num_identities = int(identity_ids.max()) + 1
    order = rng.permutation(num_identities)  # identities in the order in which they are taken
    kept = np.zeros(num_identities, bool)
    kept[order[: caps.max_identities]] = True
    shuffled = rng.permutation(len(identity_ids))
    shuffled = shuffled[kept[identity_ids[shuffled]]]
    if len(shuffled) <= caps.max_images:
        return np.sort(shuffled)
    counts = np.bincount(identity_ids[shuffled], minlength=num_identities)
    if caps.max_images < np.count_nonzero(counts):
        raise InputError(
            f"max_images={caps.max_images} is less than the {np.count_nonzero(counts)} identities; allow an image for "
            "each, or fewer identities"
        )
    allowed = _fair_counts(counts, order, caps.max_images)
    return np.sort(shuffled[_ranks(identity_ids[shuffled]) < allowed[identity_ids[shuffled]]])


def _fair_counts(counts: NDArray[np.int64], order: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Images per identity that add up to ``total``: an equal number each, or all where an identity has fewer.

    What is left over after the equal number goes to the first identities of ``order`` that have one more.
    """
    low, high = 0, int(counts.max())
    while low < high:  # the largest equal number that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(counts, middle).sum() <= total else (low, middle - 1)
    allowed = np.minimum(counts, low)
    with_more = order[counts[order] > low]
    allowed[with_more[: total - int(allowed.sum())]] += 1
    return allowed


def _ranks(identity_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each face, how many faces of its identity stand before it, shape (N,)."""
    by_identity = np.argsort(identity_ids, kind="stable")
    counts = np.bincount(identity_ids)
    starts = np.cumsum(counts) - counts
    ranks = np.empty(len(identity_ids), np.int64)
    ranks[by_identity] = np.arange(len(identity_ids)) - starts[identity_ids[by_identity]]
    return ranks
