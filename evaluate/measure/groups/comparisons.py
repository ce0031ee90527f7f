"""All comparisons of the faces of a set: every genuine one, and the impostors that score highest.

In: unit embeddings and the identity of each. Out: ``Comparisons``. The number of impostor comparisons grows with the
square of the number of faces, so only those are kept that a threshold at ``highest_fmr`` can accept, of all people or
of one group; the number of all follows from the numbers of faces. Two passes over blocks: one counts scores, one keeps
them. The scores are exact (``bench.vectors.exact``), so that the size of a block changes nothing. Legend: K faces, I
identities, D dimensions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.vectors.exact import fixed_point

MIN_KEPT = 50_000
"""Impostor comparisons that are kept in any case, if there are so many."""
_MAX_KEPT_FOR_GROUPS = 20_000_000  # 240 MB; most impostors that are kept so that a group of low scores has enough
_TAIL = 20  # share of impostors kept over the wanted false match rate: room for thresholds of resamples and shuffles
_BINS = 1 << 16
_BLOCK = 1024


@dataclass(frozen=True)
class Comparisons:
    """Scores of a network on all pairs of faces."""

    num_images: NDArray[np.int64]
    """Faces of each identity, shape (I,)."""
    genuine_scores: NDArray[np.float32]
    """Every genuine comparison."""
    genuine_identities: NDArray[np.int32]
    """Identity of each of these."""
    impostor_scores: NDArray[np.float32]
    """The highest impostor scores, falling."""
    impostor_identities: NDArray[np.int32]
    """Both identities of each of these, shape (number kept, 2)."""
    whole: "Comparisons | None" = None
    """The same with every impostor that was kept, where this holds a part of them."""

    @property
    def num_impostors(self) -> int:
        """Impostor comparisons in all, kept or not."""
        return int((self.num_images.sum() ** 2 - (self.num_images**2).sum()) // 2)

    def for_fmr(self, fmr: float) -> "Comparisons":
        """The same with no more impostors than a threshold at ``fmr`` can need: less work for each resample."""
        num_kept = num_to_keep(fmr, self.num_impostors)
        if num_kept >= len(self.impostor_scores):
            return self
        return replace(
            self,
            impostor_scores=self.impostor_scores[:num_kept],
            impostor_identities=self.impostor_identities[:num_kept],
            whole=self.whole or self,
        )

    @property
    def is_complete(self) -> bool:
        """Whether every impostor comparison is kept."""
        return len(self.impostor_scores) == self.num_impostors


def num_to_keep(fmr: float, num_impostors: int) -> int:
    """How many of the highest impostor scores are kept for a false match rate."""
    return min(num_impostors, max(MIN_KEPT, int(_TAIL * fmr * num_impostors)))


def compare_all(
    embeddings: NDArray[np.floating],
    identity_ids: NDArray[np.integer],
    *,
    highest_fmr: float,
    groupings: Sequence[NDArray[np.integer]] = (),
    block: int = _BLOCK,
) -> Comparisons:
    """Compare every face with every other.

    Args:
        embeddings: Unit embeddings, shape (K, D).
        identity_ids: Identity of each face, shape (K,), 0 .. I - 1.
        highest_fmr: Highest false match rate that will be asked for; 20 times its share of the impostors are kept.
        groupings: Groups of the identities by each attribute, each of shape (I,); -1 for one that belongs to none. If
            the scores of a group are low, more impostors are kept, so that its own highest are among them.
        block: Faces per block; changes memory and time only.

    Raises:
        InputError: If an embedding is not finite or longer than 1, or there are no two identities.
    """
    num_images = np.bincount(identity_ids).astype(np.int64)
    if np.count_nonzero(num_images) < 2:
        raise InputError(f"{np.count_nonzero(num_images)} identities cannot be compared; give two or more")
    fixed_point(embeddings[:1])  # refuse a wrong scale before the passes
    num_impostors = int((num_images.sum() ** 2 - (num_images**2).sum()) // 2)
    lowest_bin = 0
    if num_to_keep(highest_fmr, num_impostors) < num_impostors:
        lowest_bin = _lowest_bin(embeddings, identity_ids, highest_fmr, groupings, block)
    genuine, impostors = [], []
    for scores, rows, columns in _blocks(embeddings, block):
        first, second = identity_ids[rows], identity_ids[columns]
        is_genuine = first == second
        genuine.append((scores[is_genuine], first[is_genuine]))
        is_kept = ~is_genuine & (_bin(scores) >= lowest_bin)
        impostors.append((scores[is_kept], np.stack([first[is_kept], second[is_kept]], axis=1)))
    impostor_scores = np.concatenate([scores for scores, _ in impostors])
    pairs = np.concatenate([pairs for _, pairs in impostors]).astype(np.int32)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -impostor_scores))  # the same order for every size of block
    return Comparisons(
        num_images,
        np.concatenate([scores for scores, _ in genuine]),
        np.concatenate([identities for _, identities in genuine]).astype(np.int32),
        impostor_scores[order],
        pairs[order],
    )


def _lowest_bin(
    embeddings: NDArray[np.floating],
    identity_ids: NDArray[np.integer],
    highest_fmr: float,
    groupings: Sequence[NDArray[np.integer]],
    block: int,
) -> int:
    """Bin of the lowest impostor scores that are kept: enough of all, and of each group unless those are too many."""
    counts = np.zeros(_BINS, dtype=np.int64)
    group_counts = [np.zeros((int(labels.max()) + 1, _BINS), dtype=np.int64) for labels in groupings]
    for scores, rows, columns in _blocks(embeddings, block):
        first, second = identity_ids[rows], identity_ids[columns]
        is_impostor = first != second
        first, second, bins = first[is_impostor], second[is_impostor], _bin(scores[is_impostor])
        counts += np.bincount(bins, minlength=_BINS)
        for labels, own_counts in zip(groupings, group_counts, strict=True):
            groups = labels[first]
            is_within = (groups == labels[second]) & (groups >= 0)
            cells = groups[is_within] * _BINS + bins[is_within]
            own_counts += np.bincount(cells, minlength=own_counts.size).reshape(own_counts.shape)
    num_kept = num_to_keep(highest_fmr, int(counts.sum()))
    lowest = _bin_of_highest(counts, num_kept)
    for own in (row for table in group_counts for row in table):
        lowest = min(lowest, _bin_of_highest(own, num_to_keep(highest_fmr, int(own.sum()))))
    return max(lowest, _bin_of_highest(counts, max(num_kept, min(_MAX_KEPT_FOR_GROUPS, int(counts.sum())))))


def _bin_of_highest(counts: NDArray[np.int64], num: int) -> int:
    """Bin of the lowest of the ``num`` highest scores, of which ``counts`` lie in each bin."""
    return _BINS - 1 - int(np.searchsorted(np.cumsum(counts[::-1]), num))


def _blocks(
    embeddings: NDArray[np.floating], block: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]]:
    """Scores of all pairs of different faces, each pair once, with the rows of its first and its second face."""
    for start in range(0, len(embeddings), block):
        first = fixed_point(embeddings[start : start + block])
        for other in range(start, len(embeddings), block):
            second = first if other == start else fixed_point(embeddings[other : other + block])
            scores = (first @ second.T).astype(np.float32)
            rows, columns = np.meshgrid(
                np.arange(start, start + len(first)), np.arange(other, other + len(second)), indexing="ij"
            )
            is_pair = columns > rows
            yield scores[is_pair], rows[is_pair], columns[is_pair]


def _bin(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Bin of each score between -1 and 1, ascending."""
    return np.clip((scores.astype(np.float64) + 1) * (_BINS / 2), 0, _BINS - 1).astype(np.int64)
