"""Which vectors stay apart: the greedy rule that keeps identities, and the official one that counts unique ones.

In: vectors of any scale, for example one per identity. Out: a boolean per vector. Rules as in Vec2Face's
``inter-separability-measurement.py`` and in its author's answer on rejection sampling (issues 11 and 18).
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.machine.progress import progress

_BLOCK_ROWS = 2048


def separated(
    features: NDArray[np.floating] | torch.Tensor,
    max_cosine: float,
    *,
    against: Literal["kept", "earlier"] = "kept",
    device: str | torch.device = "cpu",
    block_rows: int = _BLOCK_ROWS,
) -> NDArray[np.bool_]:
    """Which identities stay apart, decided greedily in order; the first one always does.

    An identity is kept if no earlier one (``against="earlier"``, the official rule of counting unique identities), or
    no earlier one that was itself kept (``against="kept"``, which keeps more), has a cosine *above* ``max_cosine``.
    Cosines are float32 products in blocks: memory is that of the unit vectors and of one block of cosines.

    Args:
        features: Vectors of any scale, shape (num, D).
        max_cosine: Highest cosine between two identities, in [-1, 1].
        against: Earlier identities to compare with.
        device: Where the products are computed.
        block_rows: Rows per block.

    Returns:
        True where kept, shape (num,).

    Raises:
        InputError: If a vector is not finite or is zero.
    """
    vectors = torch.as_tensor(features)
    if vectors.dtype != torch.float32:
        vectors = vectors.float()
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    bad = ~(torch.isfinite(norms) & (norms > 0)).flatten()
    if bad.any():
        raise InputError(
            f"{int(bad.sum())} of {len(bad)} vectors are zero or not finite, first row {int(bad.int().argmax())}"
        )
    # The rows compared with: all earlier ones, or only the kept, packed at the front in their order
    pool = torch.empty(vectors.shape, device=device)
    keep = np.zeros(len(vectors), dtype=bool)
    num_pool = 0
    blocks = range(0, len(vectors), block_rows)
    for start in progress(blocks, desc="separate identities", unit="block") if len(blocks) > 20 else blocks:
        stop = min(start + block_rows, len(vectors))
        block = (vectors[start:stop] / norms[start:stop]).to(device)
        clear = _clear_of(block, pool[:num_pool], max_cosine, block_rows)
        within = (block @ block.T).cpu().numpy() > max_cosine
        keep[start:stop] = chosen = _greedy(clear.cpu().numpy(), within, against)
        entering = block[torch.from_numpy(chosen).to(device)] if against == "kept" else block
        pool[num_pool : num_pool + len(entering)] = entering
        num_pool += len(entering)
    return keep


def _clear_of(block: torch.Tensor, pool: torch.Tensor, max_cosine: float, pool_rows: int) -> torch.Tensor:
    """True where no vector of the pool is nearer than the threshold, shape (block,)."""
    highest = torch.full((len(block),), -2.0, device=block.device)
    for start in range(0, len(pool), 4 * pool_rows):
        cosine = block @ pool[start : start + 4 * pool_rows].T
        torch.maximum(highest, cosine.amax(dim=1), out=highest)
    return highest <= max_cosine


def _greedy(clear: NDArray[np.bool_], within: NDArray[np.bool_], against: str) -> NDArray[np.bool_]:
    """Decide one block in order, given who is clear of the pool and which pairs of the block are too near."""
    too_near = np.tril(within, k=-1)
    if against == "earlier":
        return clear & ~too_near.any(axis=1)
    chosen = clear.copy()
    for row in np.flatnonzero(too_near.any(axis=1)):  # the others do not depend on their block
        chosen[row] &= not (too_near[row] & chosen).any()
    return chosen
