"""A path, and a table where it needs one -> faces of people who belong to groups.

In: a folder with ``groups.csv``, RFW or BFW as their authors lay them out, or any test set that names its
people, with a table ``identity,ATTRIBUTE,...``. Out: a ``FaceTable``.
"""

import hashlib
from pathlib import Path

from bench.errors import InputError
from bench.files import exists, sha256
from bench.runs.inputs import how_to_render, is_rendered
from evaluate.layouts.face_table import FaceTable, is_group_set, load_group_set, make_table, read_rows
from evaluate.layouts.group_folders import is_bfw, is_rfw, load_bfw, load_rfw
from evaluate.layouts.images import listed
from evaluate.protocol import load_protocol

_LAYOUTS = "a folder with groups.csv, RFW, BFW, or a test set with --table"


def open_group_set(path: str | Path, table: str | Path | None = None, *, drop_shared: bool = False) -> FaceTable:
    """Faces and groups of a test set.

    Args:
        path: The set.
        table: CSV with a line per person, ``identity`` and one column or more of groups; for sets that state none. A
            line per image, with a column ``image``, is read as well.
        drop_shared: Whether to leave out people who stand in two groups, instead of refusing the set.

    Raises:
        InputError: If the path is no such set, or table and set name different people.
    """
    path = Path(path)
    if not exists(path):
        advice = how_to_render(path.name) if is_rendered(path.name) else f"give {_LAYOUTS}"
        raise InputError(f"{path} does not exist; {advice}")
    if table is not None:
        return _with_table(path, Path(table), drop_shared=drop_shared)
    if path.is_dir() and is_group_set(path):
        return load_group_set(path, drop_shared=drop_shared)
    if path.is_dir() and is_rfw(path):
        return load_rfw(path, drop_shared=drop_shared)
    if path.is_dir() and is_bfw(path):
        return load_bfw(path, drop_shared=drop_shared)
    raise InputError(f"{path} states no groups; give {_LAYOUTS}")


def _with_table(path: Path, table: Path, *, drop_shared: bool) -> FaceTable:
    """The distinct images of a test set, with the groups that a table gives its people."""
    protocol = load_protocol(path)
    if protocol.identity_ids is None or protocol.identity_names is None:
        raise InputError(f"{path} does not name its people; give its folder of images with a pairs file")
    names = [protocol.identity_names[identity] for identity in protocol.identity_ids.tolist()]
    lines = [_without_image(line) for line in read_rows(table, ("identity",))]
    known = set(names)
    unknown = sorted({line["identity"] for line in lines} - known)
    if unknown:
        raise InputError(f"{table} names {len(unknown)} people that {path} lacks: {listed(unknown, 5)}; remove them")
    missing = sorted(known - {line["identity"] for line in lines})
    if missing:
        raise InputError(f"{table} lacks {len(missing)} people of {path}: {listed(missing, 5)}; add a line for each")
    groups: dict[str, dict[str, str]] = {}
    shared = [line for line in lines if groups.setdefault(line["identity"], line) != line]
    rows = [groups[name] for name in names]
    faces = protocol.faces
    if shared:  # lines of a person who stands in two groups; ``make_table`` refuses or drops the person
        extra = [(names.index(line["identity"]), line) for line in shared]
        faces = type(faces)(faces.read, faces.positions[[*range(len(names)), *(index for index, _ in extra)]])
        rows += [line for _, line in extra]
    digest = hashlib.sha256(f"{protocol.sha256}  set\n{sha256(table)}  table\n".encode()).hexdigest()
    return make_table(protocol.name, faces, rows, digests=digest, source=table, drop_shared=drop_shared)


def _without_image(line: dict[str, str]) -> dict[str, str]:
    """A line of a table without its image: lines of one person are then equal, unless their groups differ."""
    return {column: text for column, text in line.items() if column != "image"}
