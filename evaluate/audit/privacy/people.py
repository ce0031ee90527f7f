"""Paths of training people and of held-out people -> two sources that share no person.

Held-out people are a dataset of their own, or a text file with names of identities of the training set, one a line.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.open import read_names
from evaluate.audit.images.scan import Scan
from evaluate.audit.source import Source, open_source

_PREPARED, _PREPARED_FACES = "prepared.json", "faces.lmdb"


@dataclass(frozen=True)
class TrainingPeople:
    """Who was in the training set of a generator, and who was not."""

    members: Source
    """People that the generator was trained on."""
    controls: Source
    """Held-out people of the same source."""


def open_people(members: Path, control: Path) -> TrainingPeople:
    """The people that a generator was trained on, and those that were held out.

    Args:
        members: Folder of ``generate prepare``, or a face dataset.
        control: A face dataset, or a ``.txt`` file with names of identities of ``members`` that were held out.

    Raises:
        InputError: If a path is no dataset, a name is unknown, or a person is in both.
    """
    source = open_source(members / _PREPARED_FACES if (members / _PREPARED).exists() else members)
    source = replace(source, name=members.resolve().name)
    if control.suffix == ".txt":
        return split_people(source, read_names(control), control)
    controls = open_source(control)
    names = {name for name in source.identity_names if not name.isdigit()}
    if shared := sorted(names & set(controls.identity_names)):
        raise InputError(
            f"{len(shared)} people, such as {shared[0]!r}, are in {members} and in {control}; leave them out of one"
        )
    return TrainingPeople(source, controls)


def split_people(source: Source, names: set[str], listed_in: Path) -> TrainingPeople:
    """The identities of a source as members, those with the given names as held-out people instead.

    Raises:
        InputError: If a name is no identity of the source, or nobody is left.
    """
    is_control = np.array([name in names for name in source.identity_names])
    if unknown := sorted(names - set(source.identity_names)):
        raise InputError(
            f"{listed_in} names {len(unknown)} people, such as {unknown[0][:80]!r}, who are not in {source.path}; give "
            "names of that dataset"
        )
    if is_control.all():
        raise InputError(f"{listed_in} names all identities of {source.path}, so no member is left; name fewer")
    return TrainingPeople(_of_people(source, ~is_control, source.name), _of_people(source, is_control, listed_in.stem))


def refuse_shared_images(people: TrainingPeople, members: Scan, controls: Scan) -> None:
    """Refuse held-out people some of whose images are images of members.

    Raises:
        InputError: If an image of both sets has the same pixels.
    """
    digests = [scan.table["digest"][scan.decoded] for scan in (members, controls)]
    if num_shared := int(np.isin(digests[1], digests[0]).sum()):
        raise InputError(
            f"{num_shared} images of {people.controls.name} are in {people.members.name} too, pixel by pixel; hold out "
            "people whom the generator never saw"
        )


def _of_people(source: Source, is_kept: NDArray[np.bool_], name: str) -> Source:
    """The images of some identities of a source, under a name of their own."""
    positions = np.flatnonzero(is_kept[source.identity_ids])
    new_ids = np.cumsum(is_kept) - 1
    kept = np.flatnonzero(is_kept)
    return replace(
        source,
        name=name,
        state=f"{source.state}, identities {','.join(map(str, kept))}",
        load=lambda index: source.load(int(positions[index])),
        label=lambda index: source.label(int(positions[index])),
        identity_ids=new_ids[source.identity_ids[positions]],
        identity_names=[source.identity_names[i] for i in kept],
        positions_in_file=positions if source.positions_in_file is None else source.positions_in_file[positions],
    )
