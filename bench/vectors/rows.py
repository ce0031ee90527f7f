"""Copies rows of vectors that may be memory-mapped, and frees the pages of the file that were read."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ROWS_OF_A_STEP = 256


def copy_rows(vectors: NDArray[np.floating], rows: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """A copy of some rows, in memory.

    The pages of a memory-mapped file count as memory of the process once they are read. They are given back here, so
    that a process which reads a file of 30 GB block by block stays small; the system still caches the file.

    Args:
        vectors: Shape (N, D), an array or a ``numpy.memmap``.
        rows: What NumPy takes as index of rows: a slice, positions or a mask.
        dtype: Type of the copy; None keeps that of the vectors.
    """
    file = getattr(vectors, "_mmap", None)  # NumPy's own way to reach the map; absent in other arrays
    if file is None or not hasattr(mmap, "MADV_DONTNEED"):
        return np.array(vectors[rows], dtype=dtype)
    if not isinstance(rows, np.ndarray):
        copied = np.array(vectors[rows], dtype=dtype)
        file.madvise(mmap.MADV_DONTNEED)
        return copied
    positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    copied = np.empty((positions.size, *vectors.shape[1:]), dtype or vectors.dtype)
    # The system maps many pages around each row, so that rows all over a file would map all of it
    for start in range(0, positions.size, _ROWS_OF_A_STEP):
        step = slice(start, start + _ROWS_OF_A_STEP)
        copied[step] = vectors[positions.reshape(-1)[step]]
        file.madvise(mmap.MADV_DONTNEED)
    return copied.reshape(*positions.shape, *vectors.shape[1:])
