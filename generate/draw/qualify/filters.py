"""The images of one identity -> for each, the reason why it is dropped, or ``KEPT``.

Rules are tried in the order of ``REASONS``; an image counts for the first that applies. Duplicates are searched within
one identity only: similar images of two identities are a matter of separation (``generate.identities``).
"""

import numpy as np
from numpy.typing import NDArray

from bench.config.generator import ImageFilters

KEPT = ""
REASONS = ("identity", "quality", "known", "exact duplicate", "near duplicate")
_HASH_SIDE = 8


def drop_reasons(
    images: NDArray[np.uint8],
    filters: ImageFilters,
    *,
    identity_cosine: NDArray[np.float32],
    quality: NDArray[np.float32],
    known_cosine: NDArray[np.float32],
) -> list[str]:
    """Why each image of one identity is dropped, one of ``REASONS``, or ``KEPT``.

    Of duplicates the first is kept. A value that was not measured is NaN and passes.

    Args:
        images: Images of one identity, uint8, shape (N, H, W, 3).
        filters: Thresholds; None switches a rule off.
        identity_cosine: Cosine of an image's features to the identity vector, shape (N,).
        quality: Norm of the MagFace features, shape (N,).
        known_cosine: Cosine to the nearest identity that the generator was trained on, shape (N,).
    """
    hashes = difference_hash(images)
    contents_kept: set[bytes] = set()
    hashes_kept: list[int] = []
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
        elif filters.exact_duplicates and content in contents_kept:
            reason = "exact duplicate"
        elif _is_near_duplicate(hashes[index], hashes_kept, filters.near_duplicate_bits):
            reason = "near duplicate"
        else:
            contents_kept.add(content)
            hashes_kept.append(hashes[index])
        reasons.append(reason)
    return reasons


def _is_near_duplicate(image_hash: int, hashes_kept: list[int], max_bits: int | None) -> bool:
    if max_bits is None:
        return False
    return any((image_hash ^ other).bit_count() <= max_bits for other in hashes_kept)


def difference_hash(images: NDArray[np.uint8]) -> list[int]:
    """64-bit hashes of images; similar images have hashes that differ in few bits (dHash).

    A bit says whether one of 8 x 8 cells is darker than its right neighbour. The audit has another hash
    (``evaluate.audit.images.scan.perceptual_hash``, pHash), which compares all images and needs few false matches,
    whereas this one compares the images of one identity. This one decides which images a released benchmark holds, so
    its bits must not change.

    Args:
        images: uint8, shape (N, H, W, 3), both sides at least 9.
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
