"""Hashes of images -> images with equal pixels, and pairs of near duplicates.

Legend: N images, P pairs.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_PAIRS = 1_000_000
"""Number of pairs at which a search stops, to bound its memory. A dataset with more near duplicates is of no use."""
_BITS_OF = np.array([bin(value).count("1") for value in range(1 << 16)], dtype=np.uint8)


@dataclass(frozen=True)
class NearPairs:
    """Near duplicates: pairs of images whose hashes differ in few bits."""

    pairs: NDArray[np.int64]
    """Positions of the two images, the smaller first, shape (P, 2); rows in increasing order."""
    bits: NDArray[np.int64]
    """Number of bits in which the hashes of each pair differ, shape (P,)."""
    is_complete: bool
    """Whether every pair was found; False if the search stopped at the limit."""


def hamming(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of bits in which two 64-bit hashes differ, for P pairs of hashes, shape (P,)."""
    return _BITS_OF[(first ^ second).view(np.uint16)].reshape(-1, 4).sum(axis=1, dtype=np.int64)


def near_pairs(hashes: NDArray[np.uint64], max_bits: int, *, max_pairs: int = MAX_PAIRS) -> NearPairs:
    """Every pair of hashes at most ``max_bits`` bits apart.

    The 64 bits are cut into ``max_bits + 1`` bands. Two hashes that differ in at most ``max_bits`` bits agree in at
    least one band, so only images that share a band are compared. The result is the same as that of comparing all
    images with all others, and memory grows with N instead of its square.

    Args:
        hashes: 64-bit hashes, shape (N,).
        max_bits: Largest number of differing bits, 0 to 15.
        max_pairs: Number of pairs at which the search stops.
    """
    edges = np.linspace(0, 64, max_bits + 2).astype(int)
    bands = [(hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1) for low, high in pairwise(edges)]
    blocks: list[NDArray[np.int64]] = []
    num_pairs = 0
    for number, band in enumerate(bands):
        order = np.argsort(band, kind="stable")
        ordered = band[order]
        for step in range(1, len(hashes)):
            positions = np.flatnonzero(ordered[step:] == ordered[:-step])
            if not positions.size:
                break  # no run of equal bands is longer than ``step``
            first, second = order[positions], order[positions + step]
            is_new = hamming(hashes[first], hashes[second]) <= max_bits
            for earlier in bands[:number]:  # a pair counts in the first band that it shares
                is_new &= earlier[first] != earlier[second]
            blocks.append(np.sort(np.stack([first[is_new], second[is_new]], axis=1), axis=1))
            num_pairs += len(blocks[-1])
            if num_pairs > max_pairs:
                return _join(hashes, blocks, is_complete=False)
    return _join(hashes, blocks, is_complete=True)


def first_with_same_pixels(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each image the position of the first image with equal pixels, which may be its own; shape (N,).

    Args:
        digests: Digest of each image's pixels, shape (N,).
    """
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    return first[inverse]


def _join(hashes: NDArray[np.uint64], blocks: list[NDArray[np.int64]], *, is_complete: bool) -> NearPairs:
    pairs = np.concatenate(blocks) if blocks else np.empty((0, 2), dtype=np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return NearPairs(pairs, hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]]), is_complete)
