"""Dot products without rounding error: equal scores tie exactly, and no score depends on the size of a block.

A float32 matrix product depends in its last bits on the shape of the matrices, and so do the ties between scores. Here
the entries of unit vectors are rounded to multiples of 2^-25. The product of two entries is then a multiple of 2^-50,
and by Cauchy and Schwarz every partial sum of such products stays below 2. Each of these sums fits into the 53 bits of
a float64, so that any order of summation gives the same, exact result. The rounding moves an entry by 1.5e-8 at most,
which is less than the spacing of float32 numbers near 1. Legend: N vectors, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError

_STEPS = 2.0**25
_MAX_SQUARED_LENGTH = 1.001


def fixed_point(vectors: NDArray[np.floating], name: str = "embeddings") -> NDArray[np.float64]:
    """Vectors of length 1 or less, rounded to multiples of 2^-25, shape (N, D); their ``@`` is exact.

    Args:
        vectors: Shape (N, D).
        name: What the vectors are, for messages.

    Raises:
        InputError: If a value is not finite, or a vector is longer than 1.
    """
    rounded = np.rint(np.asarray(vectors, dtype=np.float64) * _STEPS)
    rounded /= _STEPS
    squared = np.einsum("nd,nd->n", rounded, rounded)
    if not np.isfinite(squared).all():
        bad = np.flatnonzero(~np.isfinite(squared))
        raise InputError(f"{name}: {bad.size} of {len(rounded)} are not finite, the first in row {bad[0]}; inspect it")
    if squared.max(initial=0) > _MAX_SQUARED_LENGTH:
        longest = int(np.argmax(squared))
        raise InputError(f"{name}: row {longest} has length {squared[longest] ** 0.5:.4g}; normalise to length 1")
    return rounded
