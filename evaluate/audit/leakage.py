"""One set's images and identities against the centres of another: who is in both.

Every image is compared with every centre, in blocks, so memory does not grow with the number of images. How near is
too near depends on the network: beside the share above a threshold stands the reference's own nearest *other*
identity, which no honest dataset should come nearer than (the rule of VIGFace's authors).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.vectors.nearest import identity_centers, nearest_centers

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
IDENTITY_THRESHOLD = 0.5
"""Cosine of two identity centres above which they are listed as likely the same person."""


@dataclass(frozen=True)
class Leakage:
    """N images of C identities against the R identities of a reference."""

    image_cosine: NDArray[np.float32]
    """Cosine of each image to the nearest centre of the reference, shape (N,)."""
    image_nearest: NDArray[np.int64]
    """Which one that is, shape (N,)."""
    identity_cosine: NDArray[np.float32]
    """Cosine of each identity's centre to the nearest centre of the reference, shape (C,)."""
    identity_nearest: NDArray[np.int64]
    """Which one that is, shape (C,)."""
    own_cosine: NDArray[np.float32]
    """Cosine of each of the reference's centres to its nearest other one, shape (R,); empty if it is alone."""

    def pairs(self, threshold: float = IDENTITY_THRESHOLD) -> NDArray[np.int64]:
        """Identities whose nearest centre of the reference is above the threshold, the nearest first."""
        order = np.argsort(-self.identity_cosine, kind="stable")
        return order[self.identity_cosine[order] > threshold]


def measure_leakage(
    embeddings: NDArray[np.floating],
    identity_ids: NDArray[np.integer],
    reference: NDArray[np.floating],
    reference_ids: NDArray[np.integer],
    *,
    device: str = "cpu",
) -> Leakage:
    """Compare a set with a reference.

    Args:
        embeddings: Of the set, shape (N, D), may be memory-mapped.
        identity_ids: Their identities, shape (N,), 0 .. C - 1 without gaps.
        reference: Embeddings of the reference, shape (M, D), may be memory-mapped.
        reference_ids: Their identities, shape (M,), 0 .. R - 1 without gaps.
        device: Where the products are computed.
    """
    reference_centers = identity_centers(reference, reference_ids)
    num = len(reference_centers)
    own = np.empty(0, dtype=np.float32)
    if num > 1:
        own, _ = nearest_centers(reference_centers, reference_centers, own=np.arange(num), device=device)
    images = nearest_centers(embeddings, reference_centers, device=device)
    identities = nearest_centers(identity_centers(embeddings, identity_ids), reference_centers, device=device)
    return Leakage(*images, *identities, own)
