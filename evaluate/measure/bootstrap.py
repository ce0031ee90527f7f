"""How sure is a mean over pairs? Means of resampled pairs, all at once.

Pairs that share a person are not independent. Where the identities of a test set are known, identities are drawn anew
and a pair counts as often as its people do (the vertex bootstrap); else pairs are. Decisions are kept: the thresholds,
chosen on 5,400 of 6,000 pairs, hardly move. Source of the identity bootstrap: Fogliato, Patil and Perona, Confidence
intervals for error rates in 1:1 matching tasks, arXiv 2306.01198. Legend: P pairs, R resamples, I identities.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 10_000
NUM_IDENTITY_RESAMPLES = 2_000
_NUMBERS_PER_BLOCK = 4_000_000  # resamples are drawn in blocks of this many weights, 32 MB


def resampled_means(
    values: NDArray, *, seed: int | list[int] = 0, identities: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Mean of ``values`` in each resample, shape (R,).

    Args:
        values: One number per pair, shape (P,): whether it was decided rightly, or the difference of two networks in
            that (-1, 0 or 1).
        seed: Of the drawing; the same seed gives the same means.
        identities: Who is on the two images of each pair, shape (P, 2); the two are equal for a genuine pair. None
            draws pairs.
    """
    rng = np.random.default_rng(seed)
    values = np.asarray(values, dtype=np.float64)
    return _over_pairs(values, rng) if identities is None else _over_identities(values, identities, rng)


def interval(means: NDArray) -> tuple[float, float]:
    """The 2.5 and 97.5 per cent points of resampled means, shape (R,)."""
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _over_pairs(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each distinct value is drawn follows a multinomial: a resample costs a few numbers, not P."""
    levels, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(values.size, counts / values.size, size=NUM_RESAMPLES)  # (R, levels)
    return drawn @ levels / values.size


def _over_identities(
    values: NDArray[np.float64], identities: NDArray[np.integer], rng: np.random.Generator
) -> NDArray[np.float64]:
    """A genuine pair weighs as often as its person is drawn, an impostor pair the product over its two people.

    Genuine and impostor pairs keep their shares, as the protocol fixes them.
    """
    is_genuine = identities[:, 0] == identities[:, 1]
    people, places = np.unique(identities, return_inverse=True)
    first, second = places.reshape(-1, 2).T
    means = []
    for drawn in _draws(len(people), rng):
        total = np.zeros(len(drawn))
        for part in (is_genuine, ~is_genuine):
            weights = drawn[:, first[part]].astype(np.float64)  # (resamples of the block, pairs of this kind)
            if part is not is_genuine:
                weights *= drawn[:, second[part]]
            total += part.mean() * (weights @ values[part]) / np.maximum(weights.sum(axis=1), 1)
        means.append(total)
    return np.concatenate(means)


def _draws(num_identities: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """How often each identity is drawn, in blocks of shape (resamples, I)."""
    block = max(1, min(NUM_IDENTITY_RESAMPLES, _NUMBERS_PER_BLOCK // max(num_identities, 1)))
    for start in range(0, NUM_IDENTITY_RESAMPLES, block):
        rows = min(block, NUM_IDENTITY_RESAMPLES - start)
        drawn = rng.integers(0, num_identities, size=(rows, num_identities)) + num_identities * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * num_identities).reshape(rows, num_identities)
