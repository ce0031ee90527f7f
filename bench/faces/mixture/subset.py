"""Seeded subsets of a face dataset by identities and images; with the same seed, a smaller one is part of a larger.

An identity and a face each get a random rank, which depends on the dataset and the seed alone. A subset is always the
identities, and of each the faces, with the lowest ranks. Legend: N faces, C identities.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError

By = Literal["identities", "images"]
_IDENTITY_STREAM, _FACE_STREAM = 0, 1


@dataclass(frozen=True)
class Subset:
    """How much of a dataset to take; the default takes all."""

    identities: int | None = None
    """Number of identities, drawn at random; None takes all."""
    images_per_identity: int | None = None
    """Exact number of images of each identity; None takes all."""
    min_images_per_identity: int = 1
    """Identities with fewer images are left out before any are drawn."""
    max_images_per_identity: int | None = None
    """Most images of an identity; None sets no limit."""

    def __post_init__(self) -> None:
        """Refuse a limit below the exact number of images."""
        exact, most = self.images_per_identity, self.max_images_per_identity
        if exact is not None and most is not None and most < exact:
            raise InputError(f"max_images_per_identity={most} is below images_per_identity={exact}; remove one")


@dataclass(frozen=True)
class Caps:
    """Upper limits of a dataset, as challenges set them; None sets none."""

    identities: int | None = None
    images: int | None = None
    images_per_identity: int | None = None


def choose_subset(identity_ids: NDArray[np.int64], subset: Subset, *, seed: int) -> NDArray[np.int64]:
    """Positions of the faces of a subset, ascending, shape (M,).

    Args:
        identity_ids: Identity of each face, numbered without gaps, shape (N,).
        subset: How much to take.
        seed: Seed of the drawing.

    Raises:
        InputError: If the dataset has fewer identities or images than are asked for (says how many it has).
    """
    counts = np.bincount(identity_ids)
    is_taken = counts >= subset.min_images_per_identity
    if subset.identities is not None:
        is_taken = _draw_identities(is_taken, subset, seed)
    num_images = subset.images_per_identity
    if num_images is not None and (counts[is_taken] < num_images).any():
        num_short, fewest = int((counts[is_taken] < num_images).sum()), int(counts[is_taken].min())
        raise InputError(
            f"images_per_identity={num_images}, but {num_short} of {is_taken.sum()} identities have fewer, as few as "
            f"{fewest}; lower it, set min_images_per_identity={num_images} to leave them out, or use "
            "max_images_per_identity for an upper limit"
        )
    is_face_taken = is_taken[identity_ids]
    limit = subset.max_images_per_identity if num_images is None else num_images
    if limit is not None:
        is_face_taken &= face_ranks(identity_ids, seed) < limit
    positions = np.flatnonzero(is_face_taken)
    if not len(positions):
        raise InputError(
            f"no identity has min_images_per_identity={subset.min_images_per_identity} images, the most is "
            f"{counts.max()}; lower it"
        )
    return positions


def choose_within(identity_ids: NDArray[np.int64], caps: Caps, *, seed: int) -> NDArray[np.int64]:
    """Positions of a random subset that fits the caps, ascending, shape (M,); all positions if everything fits.

    First identities are drawn. Then images are left out: every identity keeps the same number (or all, if it has
    fewer), and the first identities keep one more until ``caps.images`` is reached.

    Args:
        identity_ids: Identity of each face, numbered without gaps, shape (N,).
        caps: Largest size.
        seed: Seed of the drawing.

    Raises:
        InputError: If fewer images are allowed than identities remain.
    """
    positions = np.arange(len(identity_ids))
    if caps.identities is not None:
        positions = first_identities(identity_ids, caps.identities, seed=seed)
    if caps.images_per_identity is not None:
        positions = positions[face_ranks(identity_ids, seed)[positions] < caps.images_per_identity]
    if caps.images is None or len(positions) <= caps.images:
        return positions
    identities, labels = np.unique(identity_ids[positions], return_inverse=True)
    if caps.images < len(identities):
        raise InputError(
            f"a cap of {caps.images} images is less than one image for each of {len(identities)} identities; allow "
            "more images, or fewer identities"
        )
    return positions[first_faces(labels, caps.images, by="images", seed=seed)]


def first_faces(identity_ids: NDArray[np.int64], num_faces: int, *, by: By, seed: int) -> NDArray[np.int64]:
    """Positions of ``num_faces`` faces, ascending. Those of a smaller number are among those of a larger one.

    Args:
        identity_ids: Identity of each face, shape (N,).
        num_faces: Number of faces, at most N.
        by: ``identities`` takes one identity after the other with all its faces, the last one in part. ``images`` takes
            one face of every identity, then a second one of those that have two, and so on.
        seed: Seed of the order.
    """
    ranks_of_faces = face_ranks(identity_ids, seed)
    ranks_of_identities = _identity_ranks(int(identity_ids.max()) + 1, seed)[identity_ids]
    keys = (ranks_of_faces, ranks_of_identities) if by == "identities" else (ranks_of_identities, ranks_of_faces)
    return np.sort(np.lexsort(keys)[:num_faces])


def face_ranks(identity_ids: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Random rank of each face among those of its identity, 0 for the first, shape (N,)."""
    keys = np.random.default_rng([seed, _FACE_STREAM]).random(len(identity_ids))
    order = np.lexsort((keys, identity_ids))
    sorted_ids = identity_ids[order]
    starts = np.searchsorted(sorted_ids, sorted_ids)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - starts
    return ranks


def first_identities(identity_ids: NDArray[np.int64], num_identities: int, *, seed: int) -> NDArray[np.int64]:
    """Positions of all faces of the ``num_identities`` identities with the lowest ranks, ascending."""
    return np.flatnonzero(_identity_ranks(int(identity_ids.max()) + 1, seed)[identity_ids] < num_identities)


def _draw_identities(is_allowed: NDArray[np.bool_], subset: Subset, seed: int) -> NDArray[np.bool_]:
    """True for the first identities of those that have images enough, shape (C,)."""
    num_allowed = int(is_allowed.sum())
    if num_allowed < (subset.identities or 0):
        fewest = subset.min_images_per_identity
        with_images = f" with at least {fewest} images" if fewest > 1 else ""
        raise InputError(
            f"identities={subset.identities}, but the dataset has {num_allowed}{with_images}; give at most "
            f"{num_allowed}"
        )
    order = np.argsort(_identity_ranks(len(is_allowed), seed))
    chosen = order[is_allowed[order]][: subset.identities]
    is_drawn = np.zeros_like(is_allowed)
    is_drawn[chosen] = True
    return is_drawn


def _identity_ranks(num_identities: int, seed: int) -> NDArray[np.int64]:
    """Random rank of each identity, shape (C,)."""
    order = np.argsort(np.random.default_rng([seed, _IDENTITY_STREAM]).random(num_identities), kind="stable")
    ranks = np.empty(num_identities, np.int64)
    ranks[order] = np.arange(num_identities)
    return ranks
