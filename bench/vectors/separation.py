"""Decides which identities are separate, that is, not too similar to an earlier one.

In: vectors of any scale, one per identity. Out: a boolean per vector. There are two rules: ``earlier`` counts unique
identities as Vec2Face's ``inter-separability-measurement.py`` does; ``kept`` rejects identity vectors as its author
describes in issues 11 and 18 of HaiyuWu/Vec2Face.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bench.machine.progress import progress
from bench.vectors.norms import checked_norms
from bench.vectors.products import products_by_blocks

_BLOCK_ROWS = 2048
_MIN_BLOCKS_FOR_BAR = 21


def separated(
    features: NDArray[np.floating] | torch.Tensor,
    max_cosine: float,
    *,
    against: Literal["kept", "earlier"] = "kept",
    device: str | torch.device = "cpu",
    block_rows: int = _BLOCK_ROWS,
) -> NDArray[np.bool_]:
    """Which identities to keep, decided one by one in their order. The first is always kept.

    An identity is kept if its cosine to each identity that it is compared with is at most ``max_cosine``. Cosines are
    float32 products in blocks, so memory is one copy of the vectors and one block of cosines.

    Args:
        features: Vectors of any scale, shape (N, D).
        max_cosine: Highest cosine allowed between two identities, in [-1, 1].
        against: ``earlier``: compare with all earlier identities, the official rule for counting unique ones.
            ``kept``: only with earlier identities that were kept, which keeps more.
        device: Device that computes the cosines.
        block_rows: Vectors per block.

    Returns:
        True where kept, shape (N,).

    Raises:
        InputError: If a vector is not finite or is zero.
    """
    vectors = torch.as_tensor(features)
    if vectors.dtype != torch.float32:
        vectors = vectors.float()
    norms = checked_norms(vectors)
    # Unit vectors that later blocks are compared with fill the first num_pool rows
    pool = torch.empty(vectors.shape, device=device)
    num_pool = 0
    keep = np.zeros(len(vectors), dtype=bool)
    starts = range(0, len(vectors), block_rows)
    has_bar = len(starts) >= _MIN_BLOCKS_FOR_BAR
    for start in progress(starts, desc="separate identities", unit="block") if has_bar else starts:
        stop = min(start + block_rows, len(vectors))
        block = (vectors[start:stop] / norms[start:stop]).to(device)
        is_clear_of_pool = _is_clear_of_pool(block, pool[:num_pool], max_cosine, block_rows).cpu().numpy()
        is_too_near = (block @ block.T).cpu().numpy() > max_cosine
        keep_block = _keep_in_block(is_clear_of_pool, is_too_near, against)
        keep[start:stop] = keep_block
        new_in_pool = block[torch.from_numpy(np.flatnonzero(keep_block)).to(device)] if against == "kept" else block
        pool[num_pool : num_pool + len(new_in_pool)] = new_in_pool
        num_pool += len(new_in_pool)
    return keep


def _is_clear_of_pool(block: torch.Tensor, pool: torch.Tensor, max_cosine: float, pool_rows: int) -> torch.Tensor:
    """True where no vector of the pool has a cosine above ``max_cosine``, shape (block_rows,)."""
    highest = torch.full((len(block),), -2.0, device=block.device)
    for _, cosine in products_by_blocks(block, pool, 4 * pool_rows):
        torch.maximum(highest, cosine.amax(dim=1), out=highest)
    return highest <= max_cosine


def _keep_in_block(
    is_clear_of_pool: NDArray[np.bool_], is_too_near: NDArray[np.bool_], against: str
) -> NDArray[np.bool_]:
    """Decide one block in order.

    Args:
        is_clear_of_pool: Whether a vector is far enough from all vectors of earlier blocks, shape (block_rows,).
        is_too_near: Whether two vectors of the block are too similar, shape (block_rows, block_rows).
        against: As in ``separated``.
    """
    is_too_near_earlier = np.tril(is_too_near, k=-1)
    if against == "earlier":
        return is_clear_of_pool & ~is_too_near_earlier.any(axis=1)
    keep = is_clear_of_pool.copy()
    for row in np.flatnonzero(is_too_near_earlier.any(axis=1)):  # the other rows do not depend on their block
        keep[row] &= not (is_too_near_earlier[row] & keep).any()
    return keep
