"""Bootstrap of a mean over pairs: one value per pair in, the means of resampled pairs and their interval out.

Pairs that share a person are not independent. If the identities of a test set are known, identities are resampled and
a pair counts as often as its identities were drawn (vertex bootstrap; Fogliato, Patil and Perona, Confidence intervals
for error rates in 1:1 matching tasks, arXiv 2306.01198). If not, pairs are resampled. Thresholds are not chosen anew in
each resample: chosen on 5,400 of 6,000 pairs, they hardly change. Legend: P pairs, R resamples, I identities.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 10_000
NUM_IDENTITY_RESAMPLES = 2_000
_NUMBERS_PER_BLOCK = 4_000_000  # identities drawn at once, or weights of pairs at once: 32 MB each


def resampled_means(
    values: NDArray, *, seed: int | list[int] = 0, identities: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Mean of ``values`` in each resample, shape (R,).

    Args:
        values: One number per pair, shape (P,): whether a network decides it correctly (0 or 1), or the difference of
            two networks in that (-1, 0 or 1).
        seed: Seed of the resampling; the same seed gives the same means.
        identities: Identities on the two images of each pair, shape (P, 2), equal for genuine pairs. None resamples
            pairs.
    """
    rng = np.random.default_rng(seed)
    values = np.asarray(values, dtype=np.float64)
    return _over_pairs(values, rng) if identities is None else _over_identities(values, identities, rng)


def interval(means: NDArray) -> tuple[float, float]:
    """The 2.5 and 97.5 per cent points of resampled means, shape (R,)."""
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _over_pairs(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Resample pairs. The counts of the distinct values are multinomial, so pairs need not be drawn one by one."""
    distinct, counts = np.unique(values, return_counts=True)
    num_drawn = rng.multinomial(values.size, counts / values.size, size=NUM_RESAMPLES)  # (R, distinct values)
    return num_drawn @ distinct / values.size


def _over_identities(
    values: NDArray[np.float64], identities: NDArray[np.integer], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Resample identities. A genuine pair counts as often as its identity was drawn.

    An impostor pair counts as often as the product of its two identities' counts. The shares of genuine and impostor
    pairs stay fixed, as the protocol fixes them.
    """
    is_genuine = identities[:, 0] == identities[:, 1]
    distinct, indices = np.unique(identities, return_inverse=True)
    first, second = indices.reshape(-1, 2).T
    means = []
    block = max(1, min(NUM_IDENTITY_RESAMPLES, _NUMBERS_PER_BLOCK // max(len(distinct), len(values), 1)))
    for num_drawn in _identity_counts(len(distinct), block, rng):
        total = np.zeros(len(num_drawn))
        for kind in (is_genuine, ~is_genuine):
            weights = num_drawn[:, first[kind]].astype(np.float64)  # (resamples of the block, pairs of this kind)
            if kind is not is_genuine:
                weights *= num_drawn[:, second[kind]]
            total += kind.mean() * (weights @ values[kind]) / np.maximum(weights.sum(axis=1), 1)
        means.append(total)
    return np.concatenate(means)


def _identity_counts(num_identities: int, block: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """How often each identity was drawn, in blocks of shape (``block`` resamples or fewer, I)."""
    for start in range(0, NUM_IDENTITY_RESAMPLES, block):
        rows = min(block, NUM_IDENTITY_RESAMPLES - start)
        drawn = rng.integers(0, num_identities, size=(rows, num_identities)) + num_identities * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * num_identities).reshape(rows, num_identities)
