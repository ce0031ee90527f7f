"""New labels for the identities of several datasets, and what happens to people whom they share.

An identity of a part is a person of her own, unless she has the name of another part's identity, or a given list says
that two are the same. Names count only where a layout has names: a number in an LMDB names nobody.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import SelectedFaces
from bench.files import read_text

Shared = Literal["refuse", "merge", "separate"]
Node = tuple[int, int]
"""An identity: number of its part, and its identity_id there."""
_NUM_SHOWN = 3


@dataclass(frozen=True)
class ChosenFaces:
    """Faces of one part that a mixture takes."""

    name: str
    faces: SelectedFaces
    chosen: NDArray[np.int64]
    """Their indices in ``faces``, shape (M,)."""

    @property
    def identities(self) -> NDArray[np.int64]:
        """Numbers of the identities that have a face, ascending."""
        return np.unique(self.faces.identity_ids[self.chosen])


def unite(parts: Sequence[ChosenFaces], *, shared: Shared, same_people: Path | None = None) -> list[NDArray[np.int64]]:
    """New labels of the chosen faces of each part, numbered over all parts without gaps.

    The identities keep their order, part by part. A merged identity has the place of its first part.

    Args:
        parts: The chosen faces.
        shared: What to do with a person of two parts. ``refuse`` raises, ``merge`` gives her one label, ``separate``
            takes her for several people and looks at no names.
        same_people: Text file; every line names identities of one person, as PART/NAME separated by tabs.

    Raises:
        InputError: If parts share people and ``shared`` is ``refuse`` (says how many), or a line names no identity.
    """
    nodes = {(p, i): None for p, part in enumerate(parts) for i in part.identities.tolist()}
    links = [] if shared == "separate" else [*_links_by_name(parts), *_links_by_list(parts, same_people)]
    links = [link for link in ([node for node in link if node in nodes] for link in links) if len(link) > 1]
    if links and shared == "refuse":
        raise InputError(_describe_shared(parts, links))
    root = _merge(nodes, links)
    firsts = [node for node in nodes if root[node] == node]
    label_of_first = {node: label for label, node in enumerate(firsts)}
    labels = {node: label_of_first[root[node]] for node in nodes}
    return _labels_of_faces(parts, labels)


def _labels_of_faces(parts: Sequence[ChosenFaces], labels: dict[Node, int]) -> list[NDArray[np.int64]]:
    united = []
    for number, part in enumerate(parts):
        table = np.full(part.faces.num_identities, -1, np.int64)
        for identity in part.identities.tolist():
            table[identity] = labels[number, identity]
        united.append(table[part.faces.identity_ids[part.chosen]])
    return united


def _links_by_name(parts: Sequence[ChosenFaces]) -> Iterator[list[Node]]:
    """Identities of several parts that have one name."""
    owners = defaultdict[str, list[Node]](list)
    for number, part in enumerate(parts):
        if part.faces.has_names:
            for identity in part.identities.tolist():
                owners[part.faces.identity_names[identity]].append((number, identity))
    return (owner for owner in owners.values() if len(owner) > 1)


def _links_by_list(parts: Sequence[ChosenFaces], path: Path | None) -> Iterator[list[Node]]:
    """The lines of a list of people. Identities that were not chosen are links too; the caller drops them."""
    if path is None:
        return
    known = {
        f"{part.name}/{name}": (number, identity)
        for number, part in enumerate(parts)
        for identity, name in enumerate(part.faces.identity_names)
    }
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        names = [name for name in text.split("\t") if name]
        if unknown := [name for name in names if name not in known]:
            raise InputError(
                f"{path} line {line} names {unknown[0][:80]!r}, which is no identity; write PART/NAME separated by "
                f"tabs, such as {next(iter(known))!r}"
            )
        if names:
            yield [known[name] for name in names]


def _describe_shared(parts: Sequence[ChosenFaces], links: Sequence[Sequence[Node]]) -> str:
    shown = []
    for link in links[:_NUM_SHOWN]:
        shown.append(" = ".join(f"{parts[p].name}/{parts[p].faces.identity_names[i]}" for p, i in link))
    return (
        f"the parts share {len(links)} people, such as {', '.join(shown)[:200]}; set shared_identities to merge (one "
        "label) or separate (several), or leave them out of a part"
    )


def _merge(nodes: dict[Node, None], links: Sequence[Sequence[Node]]) -> dict[Node, Node]:
    """Node -> the first node of its person."""
    parent = {node: node for node in nodes}

    def find(node: Node) -> Node:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, *others in links:
        for other in others:
            low, high = sorted((find(first), find(other)))
            parent[high] = low
    return {node: find(node) for node in nodes}
