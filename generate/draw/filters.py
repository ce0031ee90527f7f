"""The images of one identity -> which to drop, and why.

Reasons are tried in the order of ``REASONS``; an image counts for the first that holds. Duplicates are looked for
within one identity: alike images of two identities are a matter of separation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT = ""
REASONS = ("identity", "quality", "known", "exact duplicate", "near duplicate")
_HASH_SIDE = 8


@dataclass(frozen=True)
class Filters:
    """What to drop; None switches a filter off."""

    min_identity_cosine: float | None = None
    """Cosine between the image's features and its identity vector, in [-1, 1]."""
    min_quality: float | None = None
    """Norm of the MagFace features."""
    exact_duplicates: bool = True
    near_duplicate_bits: int | None = None
    """Difference hashes (64 bits) that differ in at most so many bits are duplicates."""
    max_known_cosine: float | None = None
    """Cosine to the nearest identity that the generator was trained on, in [-1, 1]."""


def drop_reasons(
    images: NDArray[np.uint8],
    filters: Filters,
    *,
    identity_cosine: NDArray[np.float32],
    quality: NDArray[np.float32],
    known_cosine: NDArray[np.float32],
) -> list[str]:
    """Why each image of one identity is dropped; "" where it is kept. Of duplicates the first is kept.

    Args:
        images: Images of one identity, uint8 (N, H, W, 3).
        filters: What to drop.
        identity_cosine: Cosine to the identity, shape (N,); NaN (not measured) passes.
        quality: Quality, shape (N,); NaN passes.
        known_cosine: Cosine to the nearest identity that was trained on, shape (N,); NaN passes.
    """
    hashes = difference_hash(images)
    seen: set[bytes] = set()
    kept: list[int] = []
    reasons = []
    for index, image in enumerate(images):
        content = image.tobytes()
        reason = KEPT
        if filters.min_identity_cosine is not None and identity_cosine[index] < filters.min_identity_cosine:
            reason = "identity"
        elif filters.min_quality is not None and quality[index] < filters.min_quality:
            reason = "quality"
        elif filters.max_known_cosine is not None and known_cosine[index] > filters.max_known_cosine:
            reason = "known"
        elif filters.exact_duplicates and content in seen:
            reason = "exact duplicate"
        elif filters.near_duplicate_bits is not None and any(
            (hashes[index] ^ hashes[other]).bit_count() <= filters.near_duplicate_bits for other in kept
        ):
            reason = "near duplicate"
        else:
            seen.add(content)
            kept.append(index)
        reasons.append(reason)
    return reasons


def difference_hash(images: NDArray[np.uint8]) -> list[int]:
    """64-bit hashes that change little when an image does: is each of 8 x 8 cells darker than its right neighbour?

    Args:
        images: uint8 (N, H, W, 3), both sides at least 9.
    """
    grey = images.mean(axis=3)
    for axis, cells in ((1, _HASH_SIDE), (2, _HASH_SIDE + 1)):
        edges = np.linspace(0, grey.shape[axis], cells + 1).astype(int)[:-1]
        counts = np.diff(np.append(edges, grey.shape[axis]))
        shape = [1, 1, 1]
        shape[axis] = cells
        grey = np.add.reduceat(grey, edges, axis=axis) / counts.reshape(shape)
    bits = (grey[:, :, :-1] < grey[:, :, 1:]).reshape(len(images), -1)
    return [int.from_bytes(row.tobytes(), "big") for row in np.packbits(bits, axis=1)]
