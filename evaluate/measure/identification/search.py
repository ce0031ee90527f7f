"""Probes against a gallery -> the rank and score of every mate, and the highest score of all others.

Memory does not grow with the gallery: it is read block by block, and of each block only three numbers per probe remain.
Scores are exact (``bench.vectors.exact``), so that two equal scores are a tie whatever the size of a block. Ties count
against the mate: its rank is 1 plus the number of other entries that score at least as high. Legend: Q probes, N
gallery entries, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.vectors.exact import fixed_point
from evaluate.layouts.searches import NOBODY

_BLOCK_PROBES, _BLOCK_ENTRIES = 512, 4096
NO_SCORE = -2.0
"""Below every cosine: the mate's score in a non-mated search."""


@dataclass(frozen=True)
class SearchScores:
    """What one search returns, for every probe; each of shape (Q,)."""

    rank: NDArray[np.int64]
    """Rank of the mate, from 1; of several mates the best. 0 in a non-mated search."""
    mate: NDArray[np.float64]
    """Score of the mate; ``NO_SCORE`` in a non-mated search."""
    other: NDArray[np.float64]
    """Highest score of all entries that are no mates; ``NO_SCORE`` if there are none."""

    @property
    def is_mated(self) -> NDArray[np.bool_]:
        """Whether the person of a probe is enrolled."""
        return self.rank > 0


def search(
    probes: NDArray[np.floating],
    probe_ids: NDArray[np.integer],
    gallery: NDArray[np.floating],
    gallery_ids: NDArray[np.integer],
    *,
    block_probes: int = _BLOCK_PROBES,
    block_entries: int = _BLOCK_ENTRIES,
) -> SearchScores:
    """Search for every probe in a gallery.

    Args:
        probes: Unit embeddings, shape (Q, D).
        probe_ids: Identity of each probe, shape (Q,), 0 or more.
        gallery: Unit embeddings, shape (N, D). May be memory-mapped.
        gallery_ids: Identity of each entry, shape (N,); ``NOBODY`` for distractors. Several entries of one person are
            several mates.
        block_probes: Probes per block; changes memory and time only.
        block_entries: Gallery entries per block; likewise.

    Raises:
        InputError: If the widths or counts differ, there is no entry, or an embedding is not finite or not of length 1.
    """
    if probes.ndim != 2 or gallery.ndim != 2 or probes.shape[1] != gallery.shape[1]:
        raise InputError(
            f"probes {probes.shape} and gallery {gallery.shape} differ in width; embed both by one network"
        )
    if len(probes) != len(probe_ids) or len(gallery) != len(gallery_ids) or not len(gallery):
        raise InputError(
            f"{len(probes)} probes with {len(probe_ids)} identities and {len(gallery)} entries with {len(gallery_ids)}"
            "; give one identity per embedding, and at least one entry"
        )
    mate = _mate_scores(probes, probe_ids, gallery, gallery_ids, block_probes)
    is_mated = mate > NO_SCORE
    num_above = np.zeros(len(probes), dtype=np.int64)
    other = np.full(len(probes), NO_SCORE)
    for start in range(0, len(gallery), block_entries):
        entries = fixed_point(gallery[start : start + block_entries], "gallery")
        entry_ids = gallery_ids[start : start + block_entries]
        for first in range(0, len(probes), block_probes):
            rows = slice(first, first + block_probes)
            scores = fixed_point(probes[rows], "probes") @ entries.T  # (probes of the block, entries of the block)
            scores[probe_ids[rows, None] == entry_ids] = NO_SCORE
            num_above[rows] += np.count_nonzero(scores >= mate[rows, None], axis=1)
            np.maximum(other[rows], scores.max(axis=1), out=other[rows])
    return SearchScores(np.where(is_mated, num_above + 1, 0), mate, other)


def _mate_scores(
    probes: NDArray[np.floating],
    probe_ids: NDArray[np.integer],
    gallery: NDArray[np.floating],
    gallery_ids: NDArray[np.integer],
    block: int,
) -> NDArray[np.float64]:
    """Highest score of the mates of each probe, shape (Q,); ``NO_SCORE`` for a probe without one."""
    if np.any(np.asarray(probe_ids) == NOBODY):
        raise InputError(f"a probe has the identity {NOBODY}, that of distractors; number people from 0")
    order = np.argsort(gallery_ids, kind="stable")
    sorted_ids = gallery_ids[order]
    first, last = (np.searchsorted(sorted_ids, probe_ids, side=side) for side in ("left", "right"))
    best = np.full(len(probes), NO_SCORE)
    for position in range(int((last - first).max(initial=0))):  # the first mates of all probes, the second ones, ...
        having = np.flatnonzero(first + position < last)
        for start in range(0, having.size, block):
            rows = having[start : start + block]
            entries = fixed_point(gallery[order[first[rows] + position]], "gallery")
            scores = np.einsum("qd,qd->q", fixed_point(probes[rows], "probes"), entries)
            best[rows] = np.maximum(best[rows], scores)
    return best
