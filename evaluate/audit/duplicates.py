"""Hashes of images -> pairs that are the same picture, within an identity and across identities.

Legend: N images, P pairs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_PAIRS = 1_000_000
"""A search ends here; a set with more near duplicates is known well enough."""
_BITS_OF = np.array([bin(value).count("1") for value in range(1 << 16)], dtype=np.uint8)


@dataclass(frozen=True)
class NearPairs:
    """Pairs of images whose hashes are close."""

    pairs: NDArray[np.int64]
    """Positions, the smaller first, shape (P, 2)."""
    bits: NDArray[np.int64]
    """Bits in which the hashes of a pair differ, shape (P,)."""
    is_complete: bool
    """Whether the search ended by itself."""


def hamming(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits in which each pair of 64-bit hashes differs, shape (P,)."""
    return _BITS_OF[(first ^ second).view(np.uint16)].reshape(-1, 4).sum(axis=1, dtype=np.int64)


def near_pairs(hashes: NDArray[np.uint64], max_bits: int, *, max_pairs: int = MAX_PAIRS) -> NearPairs:
    """Every pair of hashes at most ``max_bits`` bits apart.

    Two such hashes agree in at least one of ``max_bits + 1`` bands of bits (pigeonhole), so only images that share a
    band are compared: the answer is that of comparing all with all. Memory grows with N, not with its square.

    Args:
        hashes: Shape (N,).
        max_bits: 0 to 15.
        max_pairs: The search ends once that many are found.
    """
    edges = np.linspace(0, 64, max_bits + 2).astype(int)
    bands = [(hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1) for low, high in pairwise(edges)]
    found: list[NDArray[np.int64]] = []
    num_found = 0
    for number, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        ordered = band[order]
        for step in range(1, len(hashes)):
            places = np.flatnonzero(ordered[step:] == ordered[:-step])
            if not places.size:
                break  # no run of equal bands is that long
            first, second = order[places], order[places + step]
            is_new = hamming(hashes[first], hashes[second]) <= max_bits
            for earlier in bands[:number]:
                is_new &= earlier[first] != earlier[second]
            found.append(np.sort(np.stack([first[is_new], second[is_new]], axis=1), axis=1))
            num_found += len(found[-1])
            if num_found > max_pairs:
                return _sorted(hashes, found, False)
    return _sorted(hashes, found, True)


def repeats_of_earlier(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each image the position of the first one with the same pixels, shape (N,); its own where it is the first."""
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first[inverse]


def _sorted(hashes: NDArray[np.uint64], found: list[NDArray[np.int64]], is_complete: bool) -> NearPairs:
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return NearPairs(pairs, hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]]), is_complete)
