"""Identity vectors on the scale of un-normalised ArcFace features: sampled, or read from a file and checked.

In: a number and a seed, or a ``.npy`` of vectors or of real identity centres. Out: float32 vectors of norm about 22,
never unit vectors: features of WebFace4M have a standard deviation of 0.967 per dimension, and N(0, 1)^512 has norm
22.6. The recipes are those of the Vec2Face author (docs/field.md, section 1.5; HaiyuWu/Vec2Face issues 10, 11 and 18).

Shapes: ``N`` vectors.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import is_file, read_array
from bench.vectors.separation import separated as separated

FEATURE_DIM = 512
_NORM_RANGE = (8.0, 60.0)
"""Range of the mean norm of un-normalised ArcFace features with 512 dimensions; it grows with the root of the width."""


def sample_identities(
    num: int,
    seed: int,
    *,
    kind: Literal["gaussian", "pca", "file"] = "gaussian",
    centers: str | Path | None = None,
    feature_dim: int = FEATURE_DIM,
) -> NDArray[np.float32]:
    """Identity vectors on the scale of ArcFace features; the first n of them do not depend on ``num``.

    Args:
        num: Number of vectors.
        seed: Seed; the same seed gives the same bits.
        kind: ``gaussian``: isotropic, N(0, 1) per dimension. ``pca``: a Gaussian with the mean and covariance of
            ``centers``, which equals the published PCA with as many components as dimensions. ``file``: the first
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
        raise InputError(f"identities={kind} needs a file of identity vectors; set centers or identities=gaussian")
    given = read_vectors(centers, feature_dim)
    if kind == "file":
        if len(given) < num:
            raise InputError(f"{centers} holds {len(given)} vectors, but {num} are needed; lower num_identities")
        return given[:num]
    if len(given) < 2:
        raise InputError(f"{centers} holds {len(given)} vectors, but PCA needs 2; give more identity centres")
    mean, spread = fitted_gaussian(given)
    return _gaussian(num, seed, feature_dim) @ spread + mean


def fitted_gaussian(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (D,) and spread (D, D) of the Gaussian with the mean and covariance of ``vectors``, shape (N, D).

    ``z @ spread + mean`` is a sample, for standard normal ``z``. The rows of ``spread`` are the principal components,
    each as long as its standard deviation, the largest last.
    """
    # scikit-learn's PCA describes the same Gaussian with other signs of the components: other vectors than released
    # benchmarks have
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = np.cov(vectors, rowvar=False, dtype=np.float64)
    variances, directions = np.linalg.eigh(covariance)
    spread = (directions * np.sqrt(np.maximum(variances, 0))).T.astype(np.float32)
    return mean.astype(np.float32), spread


def read_vectors(path: str | Path, feature_dim: int = FEATURE_DIM) -> NDArray[np.float32]:
    """The checked identity vectors of a ``.npy`` file, float32, shape (N, feature_dim).

    Raises:
        InputError: If the file is missing or not a ``.npy``, or as ``check_vectors``.
    """
    if not is_file(path):
        raise InputError(f"{path} does not exist; give a .npy of identity vectors, or identities=gaussian")
    vectors = read_array(path)
    check_vectors(vectors, str(path), feature_dim)
    return vectors.astype(np.float32, copy=False)


def check_vectors(vectors: NDArray, name: str, feature_dim: int = FEATURE_DIM) -> None:
    """Check that an array can hold identity vectors.

    Args:
        vectors: The array.
        name: Name of its file, for messages.
        feature_dim: Width that the generator takes.

    Raises:
        InputError: If the width is another, a value is not finite, or the norms are not those of un-normalised features
            (states the norms).
    """
    if vectors.dtype.kind not in "fiu":
        raise InputError(f"{name} holds values of type {vectors.dtype}; give floating-point numbers")
    if vectors.ndim != 2 or vectors.shape[1] != feature_dim or len(vectors) == 0:
        raise InputError(f"{name} has shape {vectors.shape}; the generator takes (N, {feature_dim}) with N > 0")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(
            f"{name}: {np.count_nonzero(~finite)} of {len(vectors)} vectors hold NaN or inf, first row {first}; drop "
            "these rows"
        )
    norms = np.linalg.norm(vectors.astype(np.float32, copy=False), axis=1)
    scale = (feature_dim / FEATURE_DIM) ** 0.5
    if not _NORM_RANGE[0] * scale <= norms.mean() <= _NORM_RANGE[1] * scale:
        unit = " (unit vectors: normalised features have lost their scale)" if np.allclose(norms, 1, atol=0.02) else ""
        raise InputError(
            f"{name}: norms are {norms.min():.3g} to {norms.max():.3g}, mean {norms.mean():.3g}{unit}, but the "
            f"generator takes un-normalised features of norm about {22 * scale:.0f}; save the features before they are "
            "normalised"
        )


def _gaussian(num: int, seed: int, feature_dim: int) -> NDArray[np.float32]:
    return np.random.default_rng([seed, 0]).standard_normal((num, feature_dim), dtype=np.float32)
