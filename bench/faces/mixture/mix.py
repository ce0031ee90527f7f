"""Parts and rules -> the faces of a mixture and their new labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import SelectedFaces
from bench.faces.mixture.budget import Budget, PartSize, images_of_parts
from bench.faces.mixture.files import ViewCard
from bench.faces.mixture.labels import ChosenFaces, Shared, unite
from bench.faces.mixture.subset import Caps, Subset, choose_subset, choose_within, first_faces
from bench.faces.mixture.view import sources, write_view


@dataclass(frozen=True)
class Part:
    """One dataset of a mixture, and how much of it to take."""

    name: str
    faces: SelectedFaces
    subset: Subset = field(default_factory=Subset)
    share: float | None = None
    """Fraction of the images of the mixture, or with ``keep_real`` a multiple of the number of real images."""
    is_real: bool = False


@dataclass(frozen=True)
class Rules:
    """How the parts of a mixture are put together."""

    budget: Budget = field(default_factory=Budget)
    caps: Caps = field(default_factory=Caps)
    shared: Shared = "refuse"
    same_people: Path | None = None
    """List of people whom parts share, see ``labels.unite``."""

    def __post_init__(self) -> None:
        """Refuse rules of which one would be dropped."""
        if self.same_people and self.shared == "separate":
            raise InputError(f"same_people={self.same_people} is of no use with shared_identities=separate; remove one")
        total, most = self.budget.total_images, self.caps.images
        if total is not None and most is not None and most < total:
            raise InputError(f"total_images={total} is above the limit of {most} images; lower total_images")


def mix(parts: Sequence[Part], rules: Rules, *, seed: int) -> tuple[list[ChosenFaces], list[NDArray[np.int64]]]:
    """Choose the faces of a mixture, and number its identities anew.

    First the subset of each part is drawn and cut to its share of the budget. Then people whom parts share are merged
    or refused, and the caps are applied to the whole. Every step takes the identities and faces with the lowest random
    ranks, which depend on the seed alone, so that a smaller mixture is part of a larger one.

    Args:
        parts: The datasets.
        rules: How they are put together.
        seed: Seed of the drawing.

    Returns:
        The chosen faces of each part, and their labels, numbered over all parts without gaps.

    Raises:
        InputError: If a part has too few identities or images, two parts have one name or are one dataset, shares do
            not fit, parts share people and ``rules.shared`` is ``refuse``, or a cap leaves an identity without image.
    """
    _check_names(parts)
    if len(parts) > 1:
        _refuse_twins(parts)
    subsets = [_draw_subset(part, seed) for part in parts]
    sizes = [
        PartSize(part.name, len(subset), part.share, part.is_real) for part, subset in zip(parts, subsets, strict=True)
    ]
    chosen = []
    for part, subset, num_images in zip(parts, subsets, images_of_parts(sizes, rules.budget), strict=True):
        if num_images < len(subset):
            _, identities = np.unique(part.faces.identity_ids[subset], return_inverse=True)
            subset = subset[first_faces(identities, num_images, by=rules.budget.filled_by, seed=seed)]
        chosen.append(ChosenFaces(part.name, part.faces, subset))
    labels = unite(chosen, shared=rules.shared, same_people=rules.same_people)
    return _cut(chosen, labels, rules.caps, seed=seed)


def make_mixture(path: str | Path, parts: Sequence[Part], rules: Rules, *, seed: int) -> ViewCard:
    """Choose the faces of a mixture and write it as a view, which ``bench.faces.open.open_faces`` opens.

    Args:
        path: Folder of the view.
        parts: The datasets.
        rules: How they are put together.
        seed: Seed of the drawing.

    Returns:
        The card of the view: parts, counts, digests.

    Raises:
        InputError: As ``mix``.
    """
    chosen, labels = mix(parts, rules, seed=seed)
    return write_view(path, chosen, labels, seed=seed, real={part.name for part in parts if part.is_real})


def _draw_subset(part: Part, seed: int) -> NDArray[np.int64]:
    try:
        return choose_subset(part.faces.identity_ids, part.subset, seed=seed)
    except InputError as error:
        raise InputError(f"part {part.name}: {error}") from None


def _check_names(parts: Sequence[Part]) -> None:
    names = [part.name for part in parts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two parts are called {twice[0]}; give each a name of its own")


def _refuse_twins(parts: Sequence[Part]) -> None:
    """Refuse two parts that are the same dataset, also as a copy or inside a view."""
    owners: dict[str, tuple[Part, set[str]]] = {}
    for part in parts:
        for digest, names in sources(part.faces):
            twin, names_before = owners.get(digest, (part, set()))
            if both := names & names_before:
                raise InputError(
                    f"parts {twin.name} ({twin.faces.path}) and {part.name} ({part.faces.path}) hold the same files: "
                    f"{len(both)} people, such as {min(both)[:80]!r}, would get two labels; leave one of the parts out"
                )
            owners[digest] = (part, names | names_before)


def _cut(
    chosen: list[ChosenFaces], labels: list[NDArray[np.int64]], caps: Caps, *, seed: int
) -> tuple[list[ChosenFaces], list[NDArray[np.int64]]]:
    """Leave out what exceeds the caps, and number the identities that are left without gaps."""
    joined = np.concatenate(labels)
    if not len(joined):
        raise InputError("the mixture holds no face; raise a share or the budget")
    part_of = np.repeat(np.arange(len(chosen)), [len(part.chosen) for part in chosen])
    rows = choose_within(joined, caps, seed=seed)
    _, kept_labels = np.unique(joined[rows], return_inverse=True)
    places = np.concatenate([part.chosen for part in chosen])
    cut = [
        ChosenFaces(part.name, part.faces, places[rows[part_of[rows] == number]]) for number, part in enumerate(chosen)
    ]
    return cut, [kept_labels[part_of[rows] == number] for number in range(len(chosen))]
