"""Identity vectors that stay apart: drawn, read or checked, on the scale of un-normalised ArcFace features.

In: a number and a seed, or a ``.npy`` of vectors or of real identity centres. Out: float32 vectors of norm about 22
(WebFace4M features have 0.967 per dimension; N(0, 1)^512 has norm 22.6), never unit vectors. Recipes of the Vec2Face
author: HaiyuWu/Vec2Face issues 10, 11 and 18; separation as in ``inter-separability-measurement.py``.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.vectors.separation import separated as separated

FEATURE_DIM = 512
_NORM_RANGE = (8.0, 60.0)
"""Mean norms that can be un-normalised ArcFace features of 512 dimensions; scaled by the root of other widths."""


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
