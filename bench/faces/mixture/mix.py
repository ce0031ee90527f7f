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
from bench.faces.mixture.subset import Subset, choose_subset, face_ranks, first_faces, first_identities
from bench.faces.mixture.view import sources, write_view


@dataclass(frozen=True)
class Part:
    """One dataset of a mixture, and how much of it to take."""

    name: str
    faces: SelectedFaces
    subset: Subset = field(default_factory=Subset)
    share: float | None = None
    """Of the budget: of the images of the mixture, or of the real images."""
    is_real: bool = False


@dataclass(frozen=True)
class Caps:
    """Upper limits of the whole mixture, as challenges set them; None sets none."""

    identities: int | None = None
    images: int | None = None
    images_per_identity: int | None = None


@dataclass(frozen=True)
class Rules:
    """How the parts of a mixture are put together."""

    budget: Budget = field(default_factory=Budget)
    caps: Caps = field(default_factory=Caps)
    shared: Shared = "refuse"
    same_people: Path | None = None
    """List of people whom parts share, see ``labels.unite``."""


def mix(parts: Sequence[Part], rules: Rules, *, seed: int) -> tuple[list[ChosenFaces], list[NDArray[np.int64]]]:
    """Choose the faces of a mixture, and number its identities anew.

    Of each part first the subset is drawn, then it is cut to its share of the budget. Then people whom parts share are
    merged or refused, and the caps cut the whole. Every step takes the lowest of random ranks that depend on the seed
    alone, so that smaller mixtures lie in larger ones.

    Args:
        parts: The datasets.
        rules: How they are put together.
        seed: Seed of the drawing.

    Returns:
        The chosen faces of each part, and their labels, numbered over all parts without gaps.

    Raises:
        InputError: If a part has too few identities or images, two parts have one name or are one dataset, shares do
            not fit, people are shared and not to be, or a cap leaves an identity without an image.
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
    """Refuse one dataset as two parts, also where it lies in two places or inside a view."""
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
    rows = np.arange(len(joined))
    if caps.identities is not None:
        rows = rows[first_identities(joined, caps.identities, seed=seed)]
    if caps.images_per_identity is not None:
        rows = rows[face_ranks(joined, seed)[rows] < caps.images_per_identity]
    _, kept_labels = np.unique(joined[rows], return_inverse=True)
    if caps.images is not None and len(rows) > caps.images:
        if caps.images <= kept_labels.max():
            raise InputError(
                f"caps.images={caps.images} is less than one image for each of {kept_labels.max() + 1} identities; set "
                "caps.identities too"
            )
        kept = first_faces(kept_labels, caps.images, by="images", seed=seed)
        rows, kept_labels = rows[kept], kept_labels[kept]
    places = np.concatenate([part.chosen for part in chosen])
    cut = [
        ChosenFaces(part.name, part.faces, places[rows[part_of[rows] == number]]) for number, part in enumerate(chosen)
    ]
    return cut, [kept_labels[part_of[rows] == number] for number in range(len(chosen))]
