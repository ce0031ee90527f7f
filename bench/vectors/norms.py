"""Lengths of vectors, by which cosines divide. Zero and infinite lengths are refused."""

import torch

from bench.errors import InputError


def checked_norms(vectors: torch.Tensor, name: str = "") -> torch.Tensor:
    """Euclidean length of each vector, shape (N, 1).

    Args:
        vectors: float32, shape (N, D).
        name: Source of the vectors, for the message of an error.

    Raises:
        InputError: If a vector is zero or not finite, and so has no direction.
    """
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    is_bad = ~(torch.isfinite(norms) & (norms > 0)).flatten()
    if is_bad.any():
        prefix = f"{name}: " if name else ""
        raise InputError(
            f"{prefix}{int(is_bad.sum())} of {len(is_bad)} vectors are zero or not finite, "
            f"first row {int(is_bad.int().argmax())}; remove or recompute them"
        )
    return norms
