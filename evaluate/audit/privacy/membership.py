"""Scores of training people and of held-out people -> how well the scores reveal who was in the training set.

Members are people that the generator was trained on, controls are people of the same source that it never saw. The
score of a person is the highest cosine of any synthetic image to the centre of the person's images, or to any of them.
If the generator repeats its training people, members score higher than controls. A maximum grows with the number of
images, so that every control is compared with members that have as many.

Identity-level membership: arXiv 2107.06018. The true positive rate at a low false positive rate says more than the area
under the curve: arXiv 2112.03570. Legend: M images of members or controls, C people, N synthetic images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.vectors.nearest import identity_centers, nearest_centers
from bench.vectors.rows import copy_rows
from evaluate.metrics import auc, tar_at_far

FALSE_POSITIVE_RATES = ("1e-2", "1e-3")
MIN_CONTROLS = 100
"""Controls that the highest of these rates needs."""
NUM_RESAMPLES = 2000
_RESAMPLES_PER_BLOCK, _SYNTHETIC_ROWS = 100, 65_536


@dataclass(frozen=True)
class People:
    """Some images of some people."""

    rows: NDArray[np.int64]
    """Positions of the images, shape (M,)."""
    labels: NDArray[np.int64]
    """Person of each image, 0 .. C - 1 without gaps, shape (M,)."""


@dataclass(frozen=True)
class Membership:
    """Result of ``measure_membership``."""

    auc: float
    """Chance that a member scores above a control; a tie counts half. 0.5 where nothing leaks."""
    interval: tuple[float, float]
    """95 % bootstrap interval over people."""
    tpr_at_fpr: dict[str, float | None]
    """Share of members above the score that this share of controls exceeds; None where there are too few controls."""


def match_counts(
    member_ids: NDArray[np.integer], control_ids: NDArray[np.integer], *, seed: int = 0
) -> tuple[People, People]:
    """Images of members and controls such that both have the same numbers of images per person.

    Every control is matched with equally many members. A person with more images than those that it is matched with
    loses some by chance.

    Args:
        member_ids: Person of each image of a member, 0 .. without gaps.
        control_ids: The same of the controls.
        seed: Seed of the choice.

    Returns:
        Images of the members and of the controls.

    Raises:
        InputError: If there are fewer than 100 controls, or fewer members than controls.
    """
    counts, control_counts = np.bincount(member_ids), np.bincount(control_ids)
    if len(control_counts) < MIN_CONTROLS:
        raise InputError(
            f"{len(control_counts)} held-out people are too few: a false positive rate of 1e-2 needs {MIN_CONTROLS}; "
            "hold out more"
        )
    if len(counts) < len(control_counts):
        raise InputError(
            f"{len(counts)} members are fewer than the {len(control_counts)} held-out people; exchange --members and "
            "--control, or hold out fewer"
        )
    rng = np.random.default_rng(seed)
    per_control = len(counts) // len(control_counts)
    members, controls = (_descending(values, rng) for values in (counts, control_counts))
    members = members[: per_control * len(controls)].reshape(-1, per_control)
    kept = np.minimum(counts[members].min(axis=1), control_counts[controls])
    return (
        _sample(member_ids, members.ravel(), np.repeat(kept, per_control), rng),
        _sample(control_ids, controls, kept, rng),
    )


def person_scores(
    embeddings: NDArray[np.floating], people: People, synthetic: NDArray[np.floating], *, device: str = "cpu"
) -> dict[str, NDArray[np.float32]]:
    """Highest cosine of any synthetic image to each person's centre (``centre``), and to any of its images (``image``).

    Args:
        embeddings: Real images, unit length, may be memory-mapped.
        people: Which of them count, and whose they are.
        synthetic: Synthetic images, shape (N, D), may be memory-mapped.
        device: Torch device of the products.

    Returns:
        Two scores per person, each of shape (C,).
    """
    real = np.array(embeddings[people.rows], dtype=np.float32)
    to_centre = _highest_cosines(identity_centers(real, people.labels), synthetic, device)
    to_image = np.full(len(to_centre), -1, dtype=np.float32)
    np.maximum.at(to_image, people.labels, _highest_cosines(real, synthetic, device))
    return {"centre": to_centre, "image": to_image}


def _highest_cosines(real: NDArray[np.float32], synthetic: NDArray[np.floating], device: str) -> NDArray[np.float32]:
    """Cosine of each real vector to the nearest synthetic image, which are read block by block, shape (len(real),)."""
    highest = np.full(len(real), -1, dtype=np.float32)
    for start in range(0, len(synthetic), _SYNTHETIC_ROWS):
        block = copy_rows(synthetic, slice(start, start + _SYNTHETIC_ROWS))
        np.maximum(highest, nearest_centers(real, block, device=device)[0], out=highest)
    return highest


def measure_membership(members: NDArray[np.floating], controls: NDArray[np.floating], *, seed: int = 0) -> Membership:
    """How well a score tells members from controls.

    Args:
        members: Score of each member, higher for those who are likely in the training set.
        controls: Score of each control.
        seed: Seed of the bootstrap.
    """
    scores = np.concatenate([members, controls])
    is_member = np.repeat([True, False], [len(members), len(controls)])
    rates = {
        rate: tar_at_far(scores, is_member, float(rate)) if len(controls) * float(rate) >= 1 - 1e-9 else None
        for rate in FALSE_POSITIVE_RATES
    }
    low, high = np.quantile(_resampled_aucs(members, controls, np.random.default_rng(seed)), [0.025, 0.975])
    return Membership(auc(scores, is_member), (float(low), float(high)), rates)


def _resampled_aucs(
    members: NDArray[np.floating], controls: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Area under the curve of people drawn with repetition, members and controls apart, shape (NUM_RESAMPLES,)."""
    ordered = np.sort(controls)
    below, not_above = (np.searchsorted(ordered, members, side=side) for side in ("left", "right"))  # type: ignore[call-overload]
    aucs = []
    for _ in range(NUM_RESAMPLES // _RESAMPLES_PER_BLOCK):
        drawn, drawn_controls = (
            rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=_RESAMPLES_PER_BLOCK)
            for values in (members, controls)
        )
        num_below = np.pad(np.cumsum(drawn_controls, axis=1), ((0, 0), (1, 0)))  # (resamples, controls + 1)
        wins = (num_below[:, below] + num_below[:, not_above]) / 2
        aucs.append((drawn * wins).sum(axis=1) / (len(members) * len(controls)))
    return np.concatenate(aucs)


def _descending(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """People by falling number of images, equal ones in random order."""
    shuffled = rng.permutation(len(counts))
    return shuffled[np.argsort(-counts[shuffled], kind="stable")]


def _sample(
    ids: NDArray[np.integer], people: NDArray[np.int64], num_kept: NDArray[np.int64], rng: np.random.Generator
) -> People:
    """Random images of some people, ``num_kept`` of each."""
    order = np.argsort(ids, kind="stable")
    counts = np.bincount(ids)
    starts = np.cumsum(counts) - counts
    rows = [
        np.sort(rng.choice(order[starts[person] : starts[person] + counts[person]], num, replace=False))
        for person, num in zip(people, num_kept, strict=True)
    ]
    return People(np.concatenate(rows), np.repeat(np.arange(len(people)), num_kept))
