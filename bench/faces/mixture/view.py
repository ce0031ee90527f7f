"""A view: a folder whose faces lie in other datasets. Writes it, and reads it like any layout.

``selection.npy`` holds one row per face: number of its part, position in the part, identity; int32, shape (N, 3).
Positions count all faces of a part's file or folder, before any mask, so that a view needs nothing but the files.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import SelectedFaces
from bench.faces.mixture.content import content_sha256
from bench.faces.mixture.files import CARD_NAME, SELECTION_NAME, ViewCard, ViewPart, is_view, parts_of_view, place_of
from bench.faces.mixture.labels import ChosenFaces
from bench.files import read_array, write_array, write_json
from bench.machine.device import process_rank

__all__ = ["ViewFaces", "is_view", "write_view"]
_REMEDY = "make the view again"


class ViewFaces(SelectedFaces):
    """The faces of a view, in the order of its selection. Two arrays give the part and the position of each face.

    A view of one dataset keeps the names of its identities. In a mixture, PART/NAME is the name.
    """

    def __init__(
        self, path: Path, open_part: Callable[[Path], SelectedFaces], places: Mapping[str, Path] | None = None
    ) -> None:
        """Open a view and its parts.

        Args:
            path: Folder of the view.
            open_part: Opens a dataset in any layout, with all its faces.
            places: Name of a part -> its present path; other parts are searched at the path in the card.

        Raises:
            InputError: If the view is damaged, or a part is missing or was changed.
        """
        self.path, self.card = path, parts_of_view(path)
        self._parts = [
            _open_part(path, part, (places or {}).get(part.name, place_of(path, part)), open_part)
            for part in self.card.parts
        ]
        selection = _read_selection(path, [len(part) for part in self._parts])
        self._part_of, self._place, labels = np.ascontiguousarray(selection.T)
        self.has_names = len(self._parts) == 1 and self._parts[0].has_names
        self._set_labels(labels.astype(np.int64))
        self.identity_names = self._names()

    def _names(self) -> list[str]:
        """The name of each identity, by its first face."""
        _, first_rows = np.unique(self.identity_ids, return_index=True)
        names = []
        for row in first_rows:
            number = int(self._part_of[row])
            part = self._parts[number]
            name = part.identity_names[part.identity_ids[self._place[row]]]
            names.append(name if len(self._parts) == 1 else f"{self.card.parts[number].name}/{name}")
        return names

    def sources(self) -> Iterator[tuple[str, set[str]]]:
        """Content digest and identity names of each dataset behind the view; see the function ``sources``."""
        for number, part in enumerate(self._parts):
            rows = self._positions[self._part_of[self._positions] == number]
            used = copy(part)  # selecting replaces arrays, so that the part itself stays whole
            used.select(self._place[rows])
            yield from sources(used)

    def encoded(self, index: int) -> bytes:
        """The image file of one face, as its part stores it."""
        row = self._positions[index]
        return self._parts[self._part_of[row]].encoded(int(self._place[row]))

    def name(self, index: int) -> str:
        """Source of one face for messages, as its part states it."""
        row = self._positions[index]
        return self._parts[self._part_of[row]].name(int(self._place[row]))


def sources(faces: SelectedFaces) -> Iterator[tuple[str, set[str]]]:
    """The datasets that faces lie in, without views: SHA-256 of the content, and the names of the identities used.

    Args:
        faces: An opened dataset; of a view, its parts and their parts are given.
    """
    if not isinstance(faces, ViewFaces):
        yield content_sha256(faces.path), set(faces.identity_names)
        return
    yield from faces.sources()


def write_view(
    path: str | Path, parts: Sequence[ChosenFaces], labels: Sequence[NDArray[np.int64]], *, seed: int, real: set[str]
) -> ViewCard:
    """Write a view; its card is written last.

    Args:
        path: Folder of the view.
        parts: The faces that it takes.
        labels: Identity of each of them, numbered over all parts without gaps, see ``labels.unite``.
        seed: Seed by which the faces were drawn, for the card.
        real: Names of the parts that hold photographs, for the card.

    Returns:
        The card: parts, counts, digests.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    rows = [
        np.stack([np.full(len(part.chosen), number), part.faces.positions[part.chosen], label], axis=1)
        for number, (part, label) in enumerate(zip(parts, labels, strict=True))
    ]
    selection = np.concatenate(rows).astype(np.int32)
    write_array(path / SELECTION_NAME, selection)
    card = ViewCard(
        seed=seed,
        num_images=len(selection),
        num_identities=len(np.unique(selection[:, 2])),
        parts=[
            ViewPart(
                name=part.name,
                path=os.path.relpath(part.faces.path.resolve(), path.resolve()),
                sha256=content_sha256(part.faces.path),
                num_images=len(part.chosen),
                num_identities=len(part.identities),
                is_real=part.name in real,
            )
            for part in parts
        ],
    )
    write_json(path / CARD_NAME, card.model_dump(mode="json"))
    return card


def _open_part(view: Path, part: ViewPart, place: Path, open_part: Callable[[Path], SelectedFaces]) -> SelectedFaces:
    """Open a part whose content is the one that the card records; rank 0 checks it for all processes."""
    if not place.exists():
        raise InputError(f"{view}: part {part.name} is not at {place}; put it back there, or {_REMEDY}")
    if process_rank()[0] == 0 and (digest := content_sha256(place)) != part.sha256:
        raise InputError(
            f"{view}: part {part.name} was changed: the SHA-256 of {place} is {digest[:16]}..., the card says "
            f"{part.sha256[:16]}...; put the old files back, or {_REMEDY}"
        )
    return open_part(place)


def _read_selection(view: Path, sizes: Sequence[int]) -> NDArray[np.int32]:
    """Part, position and identity of each face, shape (N, 3), checked against the sizes of the parts."""
    path = view / SELECTION_NAME
    selection = read_array(path)
    if selection.ndim != 2 or selection.shape[1] != 3 or selection.dtype != np.int32 or not len(selection):
        raise InputError(
            f"{path} has shape {selection.shape} and type {selection.dtype}, not (N, 3) and int32; {_REMEDY}"
        )
    parts, positions, _ = selection.T
    if selection.min() < 0 or parts.max() >= len(sizes) or (positions >= np.asarray(sizes)[parts]).any():
        raise InputError(f"{path} names a face that no part holds, or a negative identity; {_REMEDY}")
    return selection
