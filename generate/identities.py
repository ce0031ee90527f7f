"""Identity vectors that stay apart: drawn, read or checked, on the scale of un-normalised ArcFace features.

In: a number and a seed, or a ``.npy`` of vectors or of real identity centres. Out: float32 vectors of norm about 22
(WebFace4M features have 0.967 per dimension; N(0, 1)^512 has norm 22.6), never unit vectors. Recipes of the Vec2Face
author: HaiyuWu/Vec2Face issues 10, 11 and 18; separation as in ``inter-separability-measurement.py``.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.progress import progress

FEATURE_DIM = 512
_NORM_RANGE = (8.0, 60.0)
"""Mean norms that can be un-normalised ArcFace features of 512 dimensions; scaled by the root of other widths."""
_BLOCK_ROWS = 2048


def sample_identities(
    num: int,
    seed: int,
    *,
    kind: Literal["gaussian", "pca", "file"] = "gaussian",
    centers: str | Path | None = None,
    feature_dim: int = FEATURE_DIM,
) -> NDArray[np.float32]:
    """Identity vectors, on the scale of ArcFace features. The first n of them do not depend on ``num``.

    Args:
        num: Number of vectors.
        seed: Seed; the same seed gives the same bits.
        kind: ``gaussian``: isotropic N(0, 1). ``pca``: from the Gaussian whose mean and covariance are those of
            ``centers`` (equal to the published PCA with as many components as dimensions). ``file``: the first
            ``num`` rows of ``centers``.
        centers: ``.npy`` of vectors, shape (N, feature_dim), for ``pca`` and ``file``.
        feature_dim: Width of the vectors.

    Returns:
        Vectors, shape (num, feature_dim).

    Raises:
        InputError: If the file is missing, of another width or scale, or holds too few vectors.
    """
    if kind == "gaussian":
        return _gaussian(num, seed, feature_dim)
    if centers is None:
        raise InputError(f"identities={kind} needs a file of identity vectors; set centers, or identities=gaussian")
    given = read_vectors(centers, feature_dim)
    if kind == "file":
        if len(given) < num:
            raise InputError(f"{centers} holds {len(given)} vectors, {num} are needed; lower num_identities")
        return given[:num]
    if len(given) < 2:
        raise InputError(f"{centers} holds {len(given)} vectors, PCA needs at least 2; give more identity centres")
    mean = given.mean(axis=0, dtype=np.float64)
    covariance = np.cov(given, rowvar=False, dtype=np.float64)
    variances, directions = np.linalg.eigh(covariance)
    spread = (directions * np.sqrt(np.maximum(variances, 0))).T.astype(np.float32)
    return _gaussian(num, seed, feature_dim) @ spread + mean.astype(np.float32)


def read_vectors(path: str | Path, feature_dim: int = FEATURE_DIM) -> NDArray[np.float32]:
    """Identity vectors of a ``.npy`` file, checked: shape (N, feature_dim) float32.

    Raises:
        InputError: See ``check_vectors``; also if the file is missing or not a ``.npy``.
    """
    try:
        vectors = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npy of identity vectors, or identities=gaussian") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not a .npy of numbers ({error}); save it with numpy.save") from None
    check_vectors(vectors, str(path), feature_dim)
    return vectors.astype(np.float32, copy=False)


def check_vectors(vectors: NDArray, name: str, feature_dim: int = FEATURE_DIM) -> None:
    """Refuse what cannot be identity vectors: another width, NaN, or another scale.

    Raises:
        InputError: Says what was found, with the norms, and what would be right.
    """
    if vectors.ndim != 2 or vectors.shape[1] != feature_dim or len(vectors) == 0:
        raise InputError(f"{name} has shape {vectors.shape}; the generator takes (N, {feature_dim}) with N > 0")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            f"{name}: {np.count_nonzero(~finite)} of {len(vectors)} vectors hold NaN or inf, first row {first}; drop"
        )
    norms = np.linalg.norm(vectors.astype(np.float32, copy=False), axis=1)
    scale = (feature_dim / FEATURE_DIM) ** 0.5
    if not _NORM_RANGE[0] * scale <= norms.mean() <= _NORM_RANGE[1] * scale:
        unit = " (unit vectors: normalised features lost their scale)" if np.allclose(norms, 1, atol=0.02) else ""
        raise InputError(
            f"{name}: norms are {norms.min():.3g} to {norms.max():.3g}, mean {norms.mean():.3g}{unit}; the generator "
            f"takes un-normalised features of norm about {22 * scale:.0f}; save the features before normalising them"
        )


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


def first_separated(
    vectors: NDArray[np.float32], keep: NDArray[np.bool_], num: int, *, max_cosine: float, what: str
) -> NDArray[np.int64]:
    """Positions of the first ``num`` kept vectors.

    Raises:
        InputError: If fewer were kept; says how many.
    """
    positions = np.flatnonzero(keep)
    if len(positions) < num:
        raise InputError(
            f"max_cosine={max_cosine:g} on {what}: {len(positions)} of {len(vectors)} candidates stay apart, but "
            f"num_identities={num}; raise max_cosine or lower num_identities"
        )
    return positions[:num]


def _gaussian(num: int, seed: int, feature_dim: int) -> NDArray[np.float32]:
    return np.random.default_rng([seed, 0]).standard_normal((num, feature_dim), dtype=np.float32)


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
