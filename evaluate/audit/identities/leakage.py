"""Embeddings of a dataset and of a reference -> the identities that are likely in both.

Each image, and the centre of each identity, is compared with the centre of every identity of the reference, in blocks,
so that memory does not grow with the number of images. Which cosine is too high depends on the network. So the cosine
of each identity of the reference to its nearest *other* identity is measured too: a dataset without leakage is no
nearer to the reference than that (rule of VIGFace's authors; docs/field.md, section 5.3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.vectors.nearest import identity_centers, nearest_centers

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
IDENTITY_THRESHOLD = 0.5
"""Cosine of two centres above which they are reported as likely the same person."""


@dataclass(frozen=True)
class Leakage:
    """N images of C identities against the R identities of a reference."""

    image_cosine: NDArray[np.float32]
    """Cosine of each image to the nearest centre of the reference, shape (N,)."""
    image_nearest: NDArray[np.int64]
    """That centre's identity in the reference, shape (N,)."""
    identity_cosine: NDArray[np.float32]
    """Cosine of each identity's centre to the nearest centre of the reference, shape (C,)."""
    identity_nearest: NDArray[np.int64]
    """That centre's identity in the reference, shape (C,)."""
    own_cosine: NDArray[np.float32]
    """Cosine of each centre of the reference to its nearest other one, shape (R,); empty for one identity."""

    def shared_identities(self, threshold: float = IDENTITY_THRESHOLD) -> NDArray[np.int64]:
        """Identities whose cosine to the nearest centre of the reference is above the threshold, the nearest first."""
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
    """Compare a dataset with a reference.

    Args:
        embeddings: Embeddings of the dataset, shape (N, D), may be memory-mapped.
        identity_ids: Their identities, shape (N,), 0 .. C - 1 without gaps.
        reference: Embeddings of the reference, shape (M, D), may be memory-mapped.
        reference_ids: Their identities, shape (M,), 0 .. R - 1 without gaps.
        device: Torch device of the products.
    """
    reference_centers = identity_centers(reference, reference_ids)
    num = len(reference_centers)
    own = np.empty(0, dtype=np.float32)
    if num > 1:
        own, _ = nearest_centers(reference_centers, reference_centers, own=np.arange(num), device=device)
    images = nearest_centers(embeddings, reference_centers, device=device)
    identities = nearest_centers(identity_centers(embeddings, identity_ids), reference_centers, device=device)
    return Leakage(*images, *identities, own)
