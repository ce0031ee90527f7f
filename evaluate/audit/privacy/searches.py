"""Searches of images among a generator's training people: the threshold of a match, and people with many matches.

A search compares one image with the centre of every training person. The more people are searched, the nearer the
nearest comes by chance. So the threshold is set on searches of real images among *other* people of the same set: one in
a thousand of these comes nearer, which is the false match rate per search. Legend: N images, C people, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import InputError
from bench.vectors.nearest import nearest_centers

SEARCH_RATE = 1e-3
"""False match rate per search at which the threshold is set."""
MAX_REAL_SEARCHES = 100_000
_BLOCK_ROWS = 1024
NUM_NEAREST, MIN_HITS = 100, 10


@dataclass(frozen=True)
class Threshold:
    """A cosine, and how often real images of other people exceed it."""

    cosine: float
    search_rate: float
    """Share of real searches that exceed it, at most ``SEARCH_RATE``."""
    num_searches: int
    num_pairs: int
    """Pairs of an image and another person's centre in these searches."""
    pair_rate: float
    """Share of these pairs that exceed it."""
    expected_search_rate: float
    """1 - (1 - pair_rate)^C: the rate per search if the pairs of an image were independent."""


@dataclass(frozen=True)
class Hub:
    """A training person that many of the nearest images point to."""

    person: int
    num_nearest: int
    """How many of the 100 nearest synthetic images are nearest to this person."""
    share_of_controls: float
    """Share of images of held-out people for which this person is the nearest too."""


def set_threshold(
    embeddings: NDArray[np.floating], ids: NDArray[np.integer], centers: NDArray[np.floating], *, device: str = "cpu"
) -> Threshold:
    """The lowest cosine that is exceeded in at most one of a thousand searches of real images.

    Args:
        embeddings: Images of the training people, unit length, shape (N, D), may be memory-mapped.
        ids: Their people, shape (N,).
        centers: Centres of the people, shape (C, D).
        device: Torch device of the products.

    Raises:
        InputError: If there are fewer than a thousand images.
    """
    if len(embeddings) * SEARCH_RATE < 1:
        raise InputError(
            f"{len(embeddings)} images of members are too few for a false match rate of {SEARCH_RATE:g} per search; "
            f"give {1 / SEARCH_RATE:.0f} or more"
        )
    rows = np.linspace(0, len(embeddings) - 1, min(MAX_REAL_SEARCHES, len(embeddings))).astype(int)
    images, own = np.array(embeddings[rows], dtype=np.float32), ids[rows]
    cosines, _ = nearest_centers(images, centers, own=own, device=device)
    num_allowed = int(np.floor(SEARCH_RATE * len(rows) + 1e-9))
    threshold = float(np.sort(cosines)[::-1][num_allowed])
    num_above = count_above(images, centers, own, threshold, device=device)
    num_pairs = len(rows) * (len(centers) - 1)
    pair_rate = num_above / num_pairs
    return Threshold(
        cosine=threshold,
        search_rate=float((cosines > threshold).mean()),
        num_searches=len(rows),
        num_pairs=num_pairs,
        pair_rate=pair_rate,
        expected_search_rate=float(-np.expm1((len(centers) - 1) * np.log1p(-pair_rate))),
    )


def count_above(
    images: NDArray[np.float32],
    centers: NDArray[np.floating],
    own: NDArray[np.integer],
    threshold: float,
    *,
    device: str = "cpu",
) -> int:
    """Number of pairs of an image and another person's centre with a cosine above a threshold.

    Args:
        images: Unit length, shape (N, D).
        centers: Centres of any scale, shape (C, D).
        own: Person of each image, who is left out, shape (N,).
        threshold: The cosine.
        device: Torch device of the products.
    """
    unit = torch.nn.functional.normalize(torch.from_numpy(np.array(centers, dtype=np.float32))).to(device)
    count = 0
    for start in range(0, len(images), _BLOCK_ROWS):
        cosines = torch.from_numpy(images[start : start + _BLOCK_ROWS]).to(device) @ unit.T  # (block, C)
        people = torch.as_tensor(np.asarray(own[start : start + _BLOCK_ROWS], np.int64)).to(device)
        cosines[torch.arange(len(cosines), device=device), people] = -torch.inf
        count += int((cosines > threshold).sum())
    return count


def find_hubs(
    cosines: NDArray[np.floating], nearest: NDArray[np.int64], control_nearest: NDArray[np.int64]
) -> list[Hub]:
    """People that ten or more of the 100 nearest synthetic images point to, the most frequent first.

    A hub is no proof of a leak: degenerate images are nearest to the same few people, whomever they show. If a person
    is nearest to many held-out people as well, the match is of that kind.

    Args:
        cosines: Cosine of each synthetic image to its nearest training person, shape (N,).
        nearest: That person, shape (N,).
        control_nearest: Nearest training person of each image of a held-out person.
    """
    top = nearest[np.argsort(-cosines, kind="stable")[:NUM_NEAREST]]
    people, counts = np.unique(top, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        Hub(int(people[i]), int(counts[i]), float((control_nearest == people[i]).mean()))
        for i in order
        if counts[i] >= MIN_HITS
    ]
