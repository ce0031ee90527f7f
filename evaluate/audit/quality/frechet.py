"""Two sets of features -> Fréchet distance and kernel distance (KID).

Fréchet distance: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of the means m and covariances S; Heusel et al., arXiv
1706.08500. Kernel distance: the unbiased squared maximum mean discrepancy under the kernel (x . y / D + 1)^3, as a mean
over subsets; Bińkowski et al., arXiv 1801.01401. Both papers use features of Inception; here they may be of any
network, so that values can be compared for the same network only.
Legend: N our images, M real images, D dimensions, S subsets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.vectors.rows import copy_rows
from evaluate.audit.quality.checks import check_pair

NUM_SUBSETS, SUBSET_SIZE = 100, 1000
_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the kernel distance over subsets."""

    mean: float
    std: float
    num_images: int
    """Images of each set in a subset."""


def frechet_distance(features: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """Fréchet distance of two normal distributions with the means and covariances of two sets of features.

    Computed in float64; covariances divide by N - 1. With fewer than about 10 D images the covariances are uncertain
    and the distance is too large: compare distances at equal N only.

    Args:
        features: Features of the dataset, shape (N, D), may be memory-mapped.
        real: Features of real faces, shape (M, D), may be memory-mapped.

    Raises:
        InputError: If the widths differ, a number is not finite, or a set has less than two images.
    """
    check_pair(features, real, min_rows=2)
    mean, covariance = mean_and_covariance(features)
    real_mean, real_covariance = mean_and_covariance(real)
    root = _square_root(covariance)
    # tr (S1 S2)^1/2 = tr (S1^1/2 S2 S1^1/2)^1/2, whose argument is symmetric: its eigenvalues are real
    between = np.linalg.eigvalsh(root @ real_covariance @ root)
    trace = np.trace(covariance) + np.trace(real_covariance) - 2 * np.sqrt(between.clip(min=0)).sum()
    return float(((mean - real_mean) ** 2).sum() + max(trace, 0.0))


def mean_and_covariance(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, shape (D,), and covariance, shape (D, D), of the rows of a matrix, in blocks and in float64."""
    num, dim = features.shape
    total, products = np.zeros(dim), np.zeros((dim, dim))
    # Deviations from a rough mean, since the difference of two large sums would lose digits.
    rough = np.asarray(features[: min(num, _BLOCK_ROWS)], dtype=np.float64).mean(axis=0)
    for start in range(0, num, _BLOCK_ROWS):
        block = copy_rows(features, slice(start, start + _BLOCK_ROWS), np.float64) - rough
        total += block.sum(axis=0)
        products += block.T @ block
    shift = total / num
    return rough + shift, (products - num * np.outer(shift, shift)) / (num - 1)


def kernel_distance(
    features: NDArray[np.floating],
    real: NDArray[np.floating],
    *,
    num_subsets: int = NUM_SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """Kernel distance (KID) of two sets of features; it may be slightly negative for sets of one distribution.

    Args:
        features: Features of the dataset, shape (N, D), may be memory-mapped.
        real: Features of real faces, shape (M, D), may be memory-mapped.
        num_subsets: S.
        subset_size: Images of each set in a subset; half of the smaller set where that is less, so that subsets differ.
        seed: Seed of the subsets.

    Raises:
        InputError: If the widths differ, a number is not finite, or a set has less than four images.
    """
    check_pair(features, real, min_rows=4)
    rng = np.random.default_rng(seed)
    size = min(subset_size, len(features) // 2, len(real) // 2)
    values = np.empty(num_subsets)
    for subset in range(num_subsets):
        first, second = (
            np.asarray(rows[np.sort(rng.choice(len(rows), size, replace=False))], dtype=np.float64)
            for rows in (features, real)
        )
        values[subset] = _unbiased_discrepancy(first, second)
    return KernelDistance(float(values.mean()), float(values.std()), size)


def _unbiased_discrepancy(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Unbiased squared maximum mean discrepancy of two samples of equal size, both (n, D)."""
    num = len(first)
    within = sum((kernel.sum() - np.trace(kernel)) / (num * (num - 1)) for kernel in map(_kernel, (first, second)))
    return float(within - 2 * _kernel(first, second).mean())


def _kernel(first: NDArray[np.float64], second: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    other = first if second is None else second
    return (first @ other.T / first.shape[1] + 1) ** 3


def _square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric square root of a covariance matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
