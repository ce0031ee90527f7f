"""What every comparison of two sets of features needs: the same width, and finite numbers."""

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.vectors.rows import copy_rows

_BLOCK_ROWS = 65_536


def check_features(features: NDArray[np.floating], name: str, *, min_rows: int) -> None:
    """Refuse features that are no finite matrix, or have too few rows.

    Args:
        features: One row per image, may be memory-mapped.
        name: Name of the set of features, for the message.
        min_rows: Fewest rows.

    Raises:
        InputError: If they are refused.
    """
    if features.ndim != 2:
        raise InputError(f"{name} has shape {features.shape}; give one row of features per image")
    if len(features) < min_rows:
        raise InputError(f"{name} has {len(features)} rows; give at least {min_rows}")
    for start in range(0, len(features), _BLOCK_ROWS):
        is_bad = ~np.isfinite(copy_rows(features, slice(start, start + _BLOCK_ROWS))).all(axis=1)
        if is_bad.any():
            row = start + int(is_bad.argmax())
            raise InputError(f"{name} is not finite, first in row {row}; check that image and the network")


def check_pair(features: NDArray[np.floating], real: NDArray[np.floating], *, min_rows: int) -> None:
    """Refuse two sets of features that cannot be compared.

    Args:
        features: Features of the dataset, shape (N, D).
        real: Features of the real faces, shape (M, D).
        min_rows: Fewest rows of each.

    Raises:
        InputError: If their widths differ, as those of two networks do, or one of them is refused by itself.
    """
    check_features(features, "the dataset", min_rows=min_rows)
    check_features(real, "the set of real faces", min_rows=min_rows)
    if features.shape[1] != real.shape[1]:
        raise InputError(
            f"the dataset has features of width {features.shape[1]}, the real faces of width {real.shape[1]}; compute "
            "both with one network"
        )
