"""Faces with a table that names the identity of each face, and its groups of people or its role in searches.

The layout is this suite's own: a folder with ``groups.csv`` or ``searches.csv``, and either image files or one array
``NAME.npy``, uint8 RGB of shape (K, 3, 112, 112). The table has a line per face: ``image`` (a file of the folder; left
out beside an array, whose faces have the order of the lines), ``identity``, and further columns. Legend: K faces, I
identities.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES
from bench.files import is_hidden, read_array, read_text, sha256
from bench.machine.progress import note
from bench.vectors.rows import copy_rows
from evaluate.layouts.images import LazyImages, check_faces, decode_face, listed
from evaluate.layouts.packed import FETCH_AGAIN
from evaluate.layouts.pairs import find_images

GROUPS_FILE = "groups.csv"
SEARCHES_FILE = "searches.csv"


@dataclass(frozen=True)
class FaceTable:
    """Faces of people who belong to groups."""

    name: str
    faces: LazyImages
    """uint8, shape (K, 112, 112, 3), RGB."""
    identity_ids: NDArray[np.int64]
    """Identity of each face, shape (K,), 0 .. I - 1."""
    identity_names: Sequence[str]
    """Name of each identity."""
    attributes: Mapping[str, Sequence[str]]
    """Attribute, such as ``skin`` -> group of each identity; an empty text for one that belongs to none."""
    sha256: str
    """SHA-256 of the table and the images."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason -> number of identities that were left out."""


def is_group_set(path: Path) -> bool:
    """Whether a test set is a folder of faces with a table of groups."""
    return (path / GROUPS_FILE).is_file()


def load_group_set(folder: str | Path, name: str | None = None, *, drop_shared: bool = False) -> FaceTable:
    """Read a folder of faces with ``groups.csv``; every further column of the table is an attribute.

    Args:
        folder: The folder.
        name: Name that the set was asked for by; None names it after the folder.
        drop_shared: Whether to leave out identities that stand in two groups of one attribute.

    Raises:
        InputError: If the table or an image is missing or malformed, or an identity belongs to two groups of one
            attribute.
    """
    folder = Path(folder)
    path = folder / GROUPS_FILE
    rows = read_rows(path, ("identity",))
    faces, digest = open_faces(folder, rows, path)
    digests = f"{sha256(path)}  {GROUPS_FILE}\n{digest}\n"
    return make_table(name or folder.name, faces, rows, digests=digests, source=path, drop_shared=drop_shared)


def make_table(
    name: str,
    faces: LazyImages,
    rows: Sequence[Mapping[str, str]],
    *,
    digests: str,
    source: Path,
    drop_shared: bool = False,
) -> FaceTable:
    """Faces and the lines of their table -> the set; columns other than image and identity are attributes.

    Args:
        name: Name of the set.
        faces: One face per line.
        rows: The lines of the table.
        digests: Text with the digests of all files, whose SHA-256 is that of the set.
        source: File of the table, for messages.
        drop_shared: Whether to leave out identities that stand in two groups of one attribute, and name them.

    Raises:
        InputError: If an identity belongs to two groups of one attribute, unless such identities are left out.
    """
    columns = [key for key in rows[0] if key not in ("image", "identity")]
    groups: dict[str, dict[str, str]] = {}
    shared: dict[str, str] = {}
    for row in rows:
        own = {column: row[column] for column in columns}
        earlier = groups.setdefault(row["identity"], own)
        for column in columns:
            if earlier[column] != own[column]:
                shared.setdefault(row["identity"], f"{row['identity']} ({earlier[column]} and {own[column]})")
    if shared and not drop_shared:
        raise InputError(
            f"{source}: {len(shared)} identities stand in two groups: {listed(list(shared.values()))}; give each one "
            "group, or leave them out with --drop-shared"
        )
    if shared:
        note(f"{source}: left out {len(shared)} identities that stand in two groups: {listed(list(shared.values()))}")
    kept = np.array([row["identity"] not in shared for row in rows])
    names, identity_ids = np.unique([row["identity"] for row, is_kept in zip(rows, kept, strict=True) if is_kept],
                                    return_inverse=True)  # fmt: skip
    return FaceTable(
        name,
        LazyImages(faces.read, faces.positions[kept]),
        identity_ids,
        names.tolist(),
        {column: tuple(groups[identity][column] for identity in names.tolist()) for column in columns},
        hashlib.sha256(digests.encode()).hexdigest(),
        {"in two groups": len(shared)} if shared else {},
    )


def read_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Lines of a table with a header, as column -> text without spaces around it.

    Args:
        path: A CSV file.
        needed: Columns that it must have.

    Raises:
        InputError: If a column is missing, a line has too few or too many fields, or there is no line.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    columns = [column.strip() for column in reader.fieldnames or ()]
    missing = [column for column in needed if column not in columns]
    if missing:
        raise InputError(f"{path} has the columns {listed(columns) or 'none'}; add {', '.join(missing)}")
    reader.fieldnames = columns
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{path} line {reader.line_num} does not have {len(columns)} fields; correct it")
        rows.append({column: text.strip() for column, text in row.items()})
        if not all(rows[-1][column] for column in needed):
            raise InputError(f"{path} line {reader.line_num} has an empty {' or '.join(needed)}; fill it in")
    if not rows:
        raise InputError(f"{path} has no lines below its header; give one per face")
    return rows


def open_faces(folder: Path, rows: Sequence[Mapping[str, str]], source: Path) -> tuple[LazyImages, str]:
    """The faces of a table's lines, and a digest of them.

    Raises:
        InputError: If images are missing, broken or named twice, or the array has another shape.
    """
    array_path = folder / f"{folder.resolve().name}.npy"
    if array_path.exists():
        return _open_array(array_path, len(rows), source)
    if "image" not in rows[0]:
        raise InputError(f"{source} has no column image, and {array_path} does not exist; add either")
    names = [row["image"] for row in rows]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise InputError(f"{source} names {len(repeated)} images twice: {listed(repeated, 5)}; keep one line of each")
    files = find_images(names, folder, source=source)
    known = set(files)
    unknown = [path for path in _images_below(folder) if path not in known]
    if unknown:
        shown = listed([str(path.relative_to(folder)) for path in unknown], 5)
        raise InputError(f"{source} lacks {len(unknown)} images of its folder: {shown}; add a line for each")
    return open_images(files, names, source)


def _images_below(folder: Path) -> Iterator[Path]:
    """All image files of a folder and its sub-folders, without hidden ones."""
    for path in sorted(folder.rglob("*")):
        is_shown = not any(map(is_hidden, path.relative_to(folder).parts))
        if is_shown and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield path


def open_images(files: Sequence[Path], names: Sequence[str], source: Path) -> tuple[LazyImages, str]:
    """Aligned faces in image files, and a digest of their names and contents."""
    digest = check_faces((file.read_bytes() for file in files), names, str(source))

    def read(k: int) -> NDArray[np.uint8]:
        return decode_face(files[k].read_bytes(), str(files[k]))

    return LazyImages(read, np.arange(len(files))), digest


def _open_array(path: Path, num_faces: int, source: Path) -> tuple[LazyImages, str]:
    images = read_array(path, is_mapped=True, fix=FETCH_AGAIN)
    if images.shape != (num_faces, 3, 112, 112) or images.dtype != np.uint8:
        raise InputError(
            f"{path} holds {images.dtype} of shape {images.shape}, but {source.name} has {num_faces} lines; needs "
            f"uint8 of shape ({num_faces}, 3, 112, 112)"
        )

    def read(k: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(copy_rows(images, k).transpose(1, 2, 0))

    return LazyImages(read, np.arange(num_faces)), sha256(path)
