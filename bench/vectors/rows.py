"""Copies rows of vectors that may be memory-mapped, and frees the pages of the file that were read."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


def copy_rows(vectors: NDArray[np.floating], rows: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """A copy of some rows, in memory.

    The pages of a memory-mapped file count as memory of the process once they are read. They are given back here, so
    that a process which reads a file of 30 GB block by block stays small; the system still caches the file.

    Args:
        vectors: Shape (N, D), an array or a ``numpy.memmap``.
        rows: What NumPy takes as index of rows: a slice, positions or a mask.
        dtype: Type of the copy; None keeps that of the vectors.
    """
    copied = np.array(vectors[rows], dtype=dtype)
    file = getattr(vectors, "_mmap", None)  # NumPy's own way to reach the map; absent in other arrays
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
    return copied
