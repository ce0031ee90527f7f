"""Embeddings with identities -> centres, consistency of identities, and cosines of all genuine and impostor pairs.

In: unit embeddings, in memory or memory-mapped, and an identity per image. Means and deviations are over *every* pair
of images, and need memory for one block of images and one centre per identity only. (The histogram of impostor pairs
alone is that of a sample, ``impostor_histogram``.)

- Cosines of genuine pairs are computed identity by identity.
- Mean and variance of the impostor pairs follow from two sums over all images: that of the embeddings, and that of
  their outer products, because the sum over all pairs of (a . b)^2 is the squared Frobenius norm of the sum of a a^T.

Legend: N images, C identities, D dimensions; a block has G identities with n images each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.machine.progress import progress
from bench.vectors.rows import copy_rows

BINS = np.linspace(-1, 1, 201)
"""Edges of the 200 bins of a cosine histogram."""
_BLOCK_ROWS = 16_384
_MAX_COSINES = 1 << 24  # of one block of genuine pairs: 64 MB


@dataclass(frozen=True)
class PairMoments:
    """Number, mean and standard deviation of the cosines of all genuine, or all impostor, pairs."""

    num_pairs: int
    mean: float
    std: float


@dataclass(frozen=True)
class IdentityFigures:
    """Results of ``measure_identities``."""

    centers: NDArray[np.float32]
    """Normalised mean of each identity's embeddings, shape (C, D)."""
    to_center: NDArray[np.float32]
    """Cosine of each image to the centre of its identity, which includes the image, shape (N,)."""
    to_others: NDArray[np.float32]
    """Cosine of each image to the centre of its identity's other images, shape (N,); NaN without other images."""
    pair_mean: NDArray[np.float32]
    """Mean cosine over the pairs of each identity, shape (C,); NaN for an identity of one image."""
    genuine: PairMoments
    impostor: PairMoments
    genuine_counts: NDArray[np.int64]
    """Number of genuine pairs in each bin of ``BINS``, shape (200,)."""

    @property
    def fisher_ratio(self) -> float:
        """(mean genuine - mean impostor)^2 / (variance genuine + variance impostor); NaN without genuine pairs."""
        spread = self.genuine.std**2 + self.impostor.std**2
        return (self.genuine.mean - self.impostor.mean) ** 2 / spread if spread > 0 else float("nan")


def measure_identities(
    embeddings: NDArray[np.floating], identity_ids: NDArray[np.integer], *, device: str = "cpu"
) -> IdentityFigures:
    """Centres of identities, cosines of images to them, and moments of all genuine and all impostor pairs.

    Args:
        embeddings: Unit length, any float type, shape (N, D).
        identity_ids: 0 .. C - 1 without gaps, shape (N,).
        device: Torch device of the products.
    """
    num_identities = int(identity_ids.max()) + 1
    centers = np.empty((num_identities, embeddings.shape[1]), dtype=np.float32)
    to_center, to_others = (np.full(len(embeddings), np.nan, dtype=np.float32) for _ in range(2))
    pair_mean = np.full(num_identities, np.nan, dtype=np.float32)
    counts = np.zeros(len(BINS) - 1, dtype=np.int64)
    # Cosines and their squares, summed over genuine pairs, then over ordered pairs of one identity including a = b.
    sums = np.zeros(4)
    with progress(desc="genuine pairs", total=len(embeddings)) as bar:
        for identities, rows in _groups(identity_ids, num_identities):
            block = torch.from_numpy(_gather(embeddings, rows)).to(device)  # (G, n, D)
            total = block.sum(dim=1)  # (G, D)
            length = torch.linalg.vector_norm(total, dim=1, keepdim=True)
            centers[identities] = (total / length.clamp_min(1e-12)).cpu().numpy()
            along = (block @ total[:, :, None]).squeeze(2)  # (G, n), dot product of each image with its identity's sum
            own = (block * block).sum(dim=2)  # (G, n), 1 up to rounding
            to_center[rows] = (along / length.clamp_min(1e-12)).cpu().numpy()
            if rows.shape[1] > 1:
                others = (length**2 - 2 * along + own).clamp_min(1e-12).sqrt()
                to_others[rows] = ((along - own) / others).cpu().numpy()
            sums += _genuine_sums(block, counts)
            if rows.shape[1] > 1:
                num_ordered = rows.shape[1] * (rows.shape[1] - 1)
                pair_mean[identities] = ((along.sum(dim=1) - own.sum(dim=1)) / num_ordered).cpu().numpy()
            bar.update(rows.size)
    genuine, impostor = _moments(embeddings, np.bincount(identity_ids), sums, device)
    return IdentityFigures(centers, to_center, to_others, pair_mean, genuine, impostor, counts)


def impostor_histogram(
    embeddings: NDArray[np.floating], identity_ids: NDArray[np.integer], *, num_images: int = 20_000, seed: int = 0
) -> tuple[NDArray[np.int64], bool]:
    """Histogram of the cosines of impostor pairs, over a sample of the images.

    Args:
        embeddings: Unit length, shape (N, D).
        identity_ids: Shape (N,).
        num_images: Size of the sample.
        seed: Seed of the sample.

    Returns:
        Number of pairs in each bin of ``BINS``, shape (200,), and whether the sample holds all images.
    """
    is_all = len(embeddings) <= num_images
    chosen = np.arange(len(embeddings))
    if not is_all:
        chosen = np.sort(np.random.default_rng(seed).choice(len(embeddings), num_images, replace=False))
    sample, ids = torch.from_numpy(_gather(embeddings, chosen)), torch.from_numpy(identity_ids[chosen])
    counts = np.zeros(len(BINS) - 1, dtype=np.int64)
    for start in range(0, len(sample), 1024):
        cosines = sample[start : start + 1024] @ sample[start:].T
        later = torch.arange(cosines.shape[0])[:, None] < torch.arange(cosines.shape[1])
        counts += _histogram(cosines[later & (ids[start : start + 1024, None] != ids[start:])])
    return counts, is_all


def _groups(
    identity_ids: NDArray[np.integer], num_identities: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of identities with the same number of images: the identities (G,) and their images (G, n).

    The size of a block is bounded, both in images and in cosines of its genuine pairs.
    """
    order = np.argsort(identity_ids, kind="stable")
    counts = np.bincount(identity_ids, minlength=num_identities)
    starts = np.cumsum(counts) - counts
    for n in np.unique(counts[counts > 0]):
        identities = np.flatnonzero(counts == n)
        size = max(1, min(_BLOCK_ROWS // int(n), _MAX_COSINES // int(n) ** 2))
        for first in range(0, len(identities), size):
            part = identities[first : first + size]
            yield part, order[starts[part][:, None] + np.arange(n)]


def _genuine_sums(block: torch.Tensor, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of cosines and of their squares in a block (G, n, D).

    Args:
        block: Embeddings of G identities with n images each.
        counts: Histogram of genuine pairs, to which those of the block are added.

    Returns:
        Cosines and squares summed over genuine pairs, then over ordered pairs including an image with itself, (4,).
    """
    n = block.shape[1]
    sums = np.zeros(4)
    step = max(1, _MAX_COSINES // max(1, block.shape[0] * n))
    for start in range(0, n, step):  # one step, except for identities with thousands of images
        cosines = block[:, start : start + step] @ block.transpose(1, 2)  # (G, step, n)
        later = torch.arange(start, start + cosines.shape[1])[:, None] < torch.arange(n)
        pairs = cosines.cpu()[:, later]
        counts += _histogram(pairs)
        exact, ordered = pairs.double(), cosines.double()
        sums += [total.item() for total in (exact.sum(), (exact**2).sum(), ordered.sum(), (ordered**2).sum())]
    return sums


def _moments(
    embeddings: NDArray[np.floating], counts: NDArray[np.int64], sums: NDArray[np.float64], device: str
) -> tuple[PairMoments, PairMoments]:
    """Moments of all genuine and of all impostor pairs; NaN for a kind that has no pair.

    Args:
        embeddings: Shape (N, D).
        counts: Images per identity, shape (C,).
        sums: Sums of ``_genuine_sums`` over all blocks.
        device: Torch device of the products.
    """
    dim = embeddings.shape[1]
    total = torch.zeros(dim, dtype=torch.float64, device=device)
    products = torch.zeros(dim, dim, dtype=torch.float64, device=device)
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        block = torch.from_numpy(_gather(embeddings, slice(start, start + _BLOCK_ROWS))).to(device)
        total += block.sum(dim=0, dtype=torch.float64)
        products += block.T @ block
    num_same = int((counts.astype(object) ** 2).sum())
    num_genuine = (num_same - counts.sum()) // 2
    num_impostor = (int(counts.sum()) ** 2 - num_same) // 2
    impostor_sum = ((total @ total).item() - sums[2]) / 2
    impostor_squares = ((products**2).sum().item() - sums[3]) / 2
    return _pair_moments(num_genuine, sums[0], sums[1]), _pair_moments(num_impostor, impostor_sum, impostor_squares)


def _pair_moments(num_pairs: int, total: float, squares: float) -> PairMoments:
    if not num_pairs:
        return PairMoments(0, float("nan"), float("nan"))
    mean = total / num_pairs
    return PairMoments(int(num_pairs), float(mean), float(np.sqrt(max(0.0, squares / num_pairs - mean**2))))


def _histogram(cosines: torch.Tensor) -> NDArray[np.int64]:
    bins = ((cosines.clamp(-1, 1) + 1) * ((len(BINS) - 1) / 2)).long().clamp_max(len(BINS) - 2)
    return torch.bincount(bins.flatten(), minlength=len(BINS) - 1).numpy()


def _gather(embeddings: NDArray[np.floating], rows: Any) -> NDArray[np.float32]:
    """A copy of some rows as float32, whatever type the file has."""
    return copy_rows(embeddings, rows, np.float32)
