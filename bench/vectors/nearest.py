"""Nearest identity centres by cosine, in blocks: for leakage checks, separability and audits.

Cosines are float32 products of unit vectors. Memory is that of the vectors given and of one block of cosines, however
many there are. Shapes: ``N`` vectors, ``C`` centres, ``D`` dimensions.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.machine.progress import progress

_BLOCK_ROWS, _BLOCK_CENTERS = 1024, 8192
_ROWS_PER_SUM = 16_384
_LONG = 20
"""Blocks from which a bar is drawn."""


def identity_centers(features: NDArray[np.floating], identity_ids: NDArray[np.integer]) -> NDArray[np.float32]:
    """Mean feature of every identity, shape (C, D); row c is that of the identity c.

    Args:
        features: One row per face, un-normalised or not, may be memory-mapped, shape (N, D).
        identity_ids: Identity per face, shape (N,), 0 .. C - 1 without gaps.

    Raises:
        InputError: If the counts differ, or an identity has no face.
    """
    if features.ndim != 2 or len(features) != len(identity_ids):
        raise InputError(
            f"features {features.shape} and identities {identity_ids.shape} differ in count; give one row per face"
        )
    counts = np.bincount(identity_ids)
    if not counts.all():
        raise InputError(f"identity {int(np.argmin(counts))} of {len(counts)} has no face; relabel without gaps")
    order = np.argsort(identity_ids, kind="stable")
    sums = np.zeros((len(counts), features.shape[1]), dtype=np.float32)
    for start in range(0, len(order), _ROWS_PER_SUM):  # a copy of all rows could be larger than memory
        rows = order[start : start + _ROWS_PER_SUM]
        labels = identity_ids[rows]
        firsts = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
        sums[labels[firsts]] += np.add.reduceat(features[rows], firsts, axis=0, dtype=np.float64)
    sums /= counts[:, None]
    return sums


def nearest_centers(
    features: NDArray[np.floating],
    centers: NDArray[np.floating],
    *,
    own: NDArray[np.integer] | None = None,
    device: str | torch.device = "cpu",
    block_rows: int = _BLOCK_ROWS,
    block_centers: int = _BLOCK_CENTERS,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The highest cosine of every vector to any centre, and which centre it is (on a CPU the first of equals).

    Args:
        features: Vectors of any scale, shape (N, D).
        centers: Centres of any scale, shape (C, D).
        own: Centre that each vector belongs to and that does not count, shape (N,): gives the nearest *other*
            identity. -1 where none is left out.
        device: Where the products are computed.
        block_rows: Vectors per block.
        block_centers: Centres per block.

    Returns:
        Cosines, shape (N,), in [-1, 1], and positions of the centres, shape (N,).

    Raises:
        InputError: If the widths differ, a vector is zero or not finite, or no centre is left to compare with.
    """
    if features.ndim != 2 or centers.ndim != 2 or features.shape[1] != centers.shape[1]:
        raise InputError(
            f"features {features.shape} and centres {centers.shape} need one width; use one network for both"
        )
    if len(centers) < (1 if own is None else 2):
        raise InputError(f"{len(centers)} identity centres are too few to find a nearest one; give more identities")
    reference = _unit(centers, "centres").to(device)
    cosines = np.empty(len(features), dtype=np.float32)
    positions = np.empty(len(features), dtype=np.int64)
    blocks = range(0, len(features), block_rows)
    for start in progress(blocks, desc="nearest identities", unit="block") if len(blocks) > _LONG else blocks:
        rows = slice(start, min(start + block_rows, len(features)))
        block = _unit(features[rows], f"features from row {start}").to(device)
        skip = None if own is None else torch.as_tensor(np.asarray(own[rows], np.int64)).to(device)
        cosine, position = _nearest(block, reference, skip, block_centers)
        cosines[rows], positions[rows] = cosine.cpu().numpy(), position.cpu().numpy()
    return cosines, positions


def _nearest(
    block: torch.Tensor, centers: torch.Tensor, own: torch.Tensor | None, block_centers: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Highest cosine and its centre for one block of unit vectors."""
    best = torch.full((len(block),), -torch.inf, device=block.device)
    where = torch.full((len(block),), -1, dtype=torch.int64, device=block.device)
    for start in range(0, len(centers), block_centers):
        cosine = block @ centers[start : start + block_centers].T
        if own is not None:
            column = own - start
            inside = (column >= 0) & (column < cosine.shape[1])
            cosine[inside.nonzero().flatten(), column[inside]] = -torch.inf
        highest, column = cosine.max(dim=1)
        is_better = highest > best
        best, where = torch.where(is_better, highest, best), torch.where(is_better, column + start, where)
    return best.clamp_(-1, 1), where


def _unit(vectors: NDArray[np.floating], name: str) -> torch.Tensor:
    """Float32 vectors of length 1."""
    values = torch.from_numpy(np.array(vectors, dtype=np.float32))
    norms = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    bad = ~(torch.isfinite(norms) & (norms > 0)).flatten()
    if bad.any():
        row = int(bad.int().argmax())
        raise InputError(f"{name}: {int(bad.sum())} of {len(bad)} vectors are zero or not finite, first row {row}")
    return values / norms
