"""Embeddings with identities -> Vendi score, and the uniqueness, consistency and diversity of DCFace.

| measure | definition |
|---|---|
| Vendi score | exp of the entropy of the eigenvalues of K / N, where K holds all cosines |
| U_class | share of identities whose centre is no nearer than r to the centre of an earlier identity |
| C_intra | share of images nearer than r to the centre of their identity |
| D_intra | recall of real images by the images of one identity, as a mean over identities |

Distances of U_class and C_intra are 1 - cosine, and r is 0.3, as in DCFace (arXiv 2304.07060, eq. 12 to 15). DCFace
computes D_intra from features of Inception. Features of a recognition network hold the identity and little of pose or
light, so here D_intra is computed from *deviations*, embeddings minus the centre of their identity. Its values cannot
be compared with DCFace's.
Vendi score: Friedman and Dieng, arXiv 2210.02410. Legend: N images, C identities, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from bench.vectors.nearest import identity_centers
from bench.vectors.rows import copy_rows
from bench.vectors.separation import separated
from evaluate.audit.quality.checks import check_features
from evaluate.audit.quality.neighbours import covered_share

RADIUS = 0.3
"""Cosine distance below which two faces count as one person."""
IMAGES_PER_IDENTITY, NUM_NEIGHBOURS = 5, 3
_BLOCK_ROWS = 65_536


def vendi_score(embeddings: NDArray[np.floating]) -> float:
    """Number of effectively different images: 1 if all embeddings are equal, N if all are orthogonal.

    K = X X^T has the eigenvalues of X^T X, a D x D matrix, so that memory does not grow with N. The score is at most D.
    A million embeddings with D = 512 take 3 seconds of one CPU thread.

    Args:
        embeddings: Unit length, shape (N, D), may be memory-mapped.

    Raises:
        InputError: If there is none, or a number is not finite.
    """
    check_features(embeddings, "the set", min_rows=1)
    products = np.zeros((embeddings.shape[1],) * 2)
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        block = copy_rows(embeddings, slice(start, start + _BLOCK_ROWS), np.float32)
        products += block.T @ block
    shares = np.linalg.eigvalsh(products / np.trace(products)).clip(min=0)
    shares = shares[shares > 0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def unique_share(centers: NDArray[np.float32], *, radius: float = RADIUS, device: str = "cpu") -> float:
    """U_class: share of identities whose centre has no earlier centre within the radius.

    Args:
        centers: Centres of identities, of any scale, in the order of the dataset, shape (C, D).
        radius: Largest cosine distance of one person.
        device: Torch device of the products.
    """
    return float(separated(centers, 1 - radius, against="earlier", device=device).mean())


def consistent_share(to_center: NDArray[np.floating], *, radius: float = RADIUS) -> float:
    """C_intra: share of images within the radius of the centre of their identity.

    Args:
        to_center: Cosine of each image to the centre of its identity, shape (N,).
        radius: Largest cosine distance of one person.
    """
    return float((1 - to_center < radius).mean())


def covered_variation(
    embeddings: NDArray[np.floating],
    identity_ids: NDArray[np.integer],
    real: NDArray[np.floating],
    real_ids: NDArray[np.integer],
    *,
    max_identities: int = 500,
    seed: int = 0,
) -> float:
    """D_intra of deviations: share of the deviations of real images that those of one identity cover, as a mean.

    A deviation is an embedding less the centre of its identity. An identity covers a real deviation that lies in the
    ball of one of its own, with the distance to its third nearest as radius. Of every identity, 5 images count, drawn
    at random: with more, all identities would cover less, so that sets of different sizes could not be compared.

    Args:
        embeddings: Unit length, shape (N, D), may be memory-mapped.
        identity_ids: 0 .. C - 1 without gaps, shape (N,).
        real: Embeddings of real faces, shape (M, D).
        real_ids: Their identities, without gaps, shape (M,). Only identities of 5 images or more count, of both sets.
        max_identities: Identities of the dataset in the mean, a sample.
        seed: Seed of both samples.

    Returns:
        A fraction; NaN if no identity of either set has 5 images.
    """
    rng = np.random.default_rng(seed)
    ours, theirs = (_with_enough_images(ids) for ids in (identity_ids, real_ids))
    if not len(ours) or not len(theirs):
        return float("nan")
    chosen = rng.choice(ours, min(max_identities, len(ours)), replace=False)
    covering, to_cover = _deviations(embeddings, identity_ids, chosen, rng), _deviations(real, real_ids, theirs, rng)
    to_cover = to_cover.reshape(-1, to_cover.shape[-1])
    return float(np.mean([covered_share(own, to_cover, NUM_NEIGHBOURS) for own in covering]))


def _with_enough_images(identity_ids: NDArray[np.integer]) -> NDArray[np.integer]:
    return np.flatnonzero(np.bincount(identity_ids) >= IMAGES_PER_IDENTITY)


def _deviations(
    embeddings: NDArray[np.floating],
    identity_ids: NDArray[np.integer],
    identities: NDArray[np.integer],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Embeddings of 5 images of some identities, less their centre, shape (identities, 5, D)."""
    rows = rng.permutation(np.flatnonzero(np.isin(identity_ids, identities)))
    rows = rows[np.argsort(identity_ids[rows], kind="stable")]
    starts = np.searchsorted(identity_ids[rows], np.sort(identities))
    drawn = rows[starts[:, None] + np.arange(IMAGES_PER_IDENTITY)]
    sample = copy_rows(embeddings, drawn.ravel(), np.float32)
    centers = identity_centers(sample, np.repeat(np.arange(len(identities)), IMAGES_PER_IDENTITY))
    return sample.reshape(*drawn.shape, -1) - centers[:, None]
