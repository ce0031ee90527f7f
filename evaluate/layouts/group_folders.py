"""RFW and BFW in their authors' layouts -> faces with a group per person.

RFW has ``data/RACE/IDENTITY/IDENTITY_000n.jpg`` and ``txts/RACE/RACE_lmk.txt``; the landmarks align the images that are
not 112 x 112. BFW has a table of pairs, ``bfw-VERSION-datatable.pkl`` or ``.csv``, with the columns p1, p2, att1 and
att2, beside aligned faces ``SUBGROUP/IDENTITY/NAME.jpg``. The lists of pairs of both sets are not used: RFW's 3,000
impostor pairs a group give 3 errors at FMR 1e-3, so every face is compared with every other of its group.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.alignment.landmarks import Landmarks, match_landmarks, read_landmarks
from bench.faces.face import FACE_SIZE, IMAGE_SUFFIXES, decode_image
from bench.files import is_hidden, sha256
from evaluate.layouts.face_table import FaceTable, make_table, open_images, read_rows
from evaluate.layouts.images import LazyImages, check_faces, listed
from evaluate.layouts.pairs import find_images
from evaluate.layouts.pandas_pickle import read_columns

_BFW_COLUMNS = ("p1", "p2", "att1", "att2")
_BFW_SUFFIXES = (".csv", ".pkl")
_BFW_SUBGROUPS = {first + second for first in "ABIW" for second in "FM"}


def is_rfw(folder: Path) -> bool:
    """Whether a folder is RFW as its authors lay it out."""
    return (folder / "data").is_dir() and (folder / "txts").is_dir()


def is_bfw(folder: Path) -> bool:
    """Whether a folder holds BFW's table of pairs."""
    return bool(_bfw_tables(folder))


def load_rfw(folder: str | Path, *, drop_shared: bool = False) -> FaceTable:
    """All faces of RFW; the attribute ``race`` is the folder, as the set's authors assigned it.

    Args:
        folder: The folder with ``data`` and ``txts``.
        drop_shared: Whether to leave out the people who stand in two races; RFW has 12 of them.

    Raises:
        InputError: If an image is broken, needs landmarks that are missing, or a person stands in two races.
    """
    folder = Path(folder)
    rows: list[dict[str, str]] = []
    files: list[Path] = []
    landmarks: list[Landmarks | None] = []
    for race in sorted(path for path in (folder / "data").iterdir() if path.is_dir() and not is_hidden(path.name)):
        for file in sorted(race.glob("*/*")):
            if file.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(file.name):
                files.append(file)
                rows.append({"image": f"{race.name}/{file.parent.name}/{file.name}", "identity": file.parent.name,
                             "race": race.name})  # fmt: skip
        points_path = folder / "txts" / race.name / f"{race.name}_lmk.txt"
        points = read_landmarks(points_path) if points_path.is_file() else {}
        landmarks += match_landmarks([row["image"] for row in rows[len(landmarks) :]], points)
    if not rows:
        raise InputError(f"{folder / 'data'} holds no images RACE/IDENTITY/NAME.jpg; unpack RFW again")
    names = [row["image"] for row in rows]
    digest = check_faces((file.read_bytes() for file in files), names, str(folder), aligned=False)
    faces = LazyImages(lambda k: _aligned(files[k], landmarks[k]), np.arange(len(files)))
    return make_table(folder.name, faces, rows, digests=digest, source=folder / "data", drop_shared=drop_shared)


def _aligned(file: Path, landmarks: Landmarks | None) -> NDArray[np.uint8]:
    """A face as it is, or aligned by its landmarks where it has another size."""
    image = decode_image(file.read_bytes(), str(file))
    if image.shape[:2] == (FACE_SIZE, FACE_SIZE):
        return image
    if landmarks is None:
        raise InputError(f"{file} is not {FACE_SIZE} x {FACE_SIZE} and has no landmarks in txts; add RACE_lmk.txt")
    return align(image, landmarks.points)


def load_bfw(folder: str | Path, *, drop_shared: bool = False) -> FaceTable:
    """All faces that BFW's table names; attributes ``subgroup`` (AF ... WM), ``ethnicity`` and ``gender``.

    Args:
        folder: The folder of the table and of the aligned faces.
        drop_shared: Whether to leave out people who stand in two subgroups.

    Raises:
        InputError: If the table lacks a column, gives a face two subgroups, or names a face that is missing.
    """
    folder = Path(folder)
    tables = _bfw_tables(folder)
    if len(tables) != 1:
        raise InputError(
            f"{folder} holds {len(tables)} tables of BFW: {listed([path.name for path in tables])}; keep one"
        )
    path = tables[0]
    columns = _read_pairs(path)
    subgroups: dict[str, str] = {}
    known = {text: _subgroup(text, path) for text in {*columns[2], *columns[3]}}
    for images, groups in ((columns[0], columns[2]), (columns[1], columns[3])):
        for image, text in zip(images, groups, strict=True):
            subgroup = known[text]
            if subgroups.setdefault(image, subgroup) != subgroup:
                raise InputError(f"{path} gives {image} the subgroups {subgroups[image]} and {subgroup}; correct it")
    names = sorted(subgroups)
    faces, digest = open_images(find_images(names, folder, source=path), names, path)
    rows = [_bfw_row(name, subgroups[name]) for name in names]
    digests = f"{sha256(path)}  {path.name}\n{digest}\n"
    return make_table(folder.name, faces, rows, digests=digests, source=path, drop_shared=drop_shared)


def _bfw_tables(folder: Path) -> Sequence[Path]:
    """Tables of pairs; a CSV counts in place of the pickle that it was saved from."""
    tables = sorted(path for path in folder.glob("bfw-*datatable.*") if path.suffix in _BFW_SUFFIXES)
    saved = {path.stem for path in tables if path.suffix == ".csv"}
    return [path for path in tables if not is_hidden(path.name) and (path.suffix == ".csv" or path.stem not in saved)]


def _read_pairs(path: Path) -> Sequence[Sequence[str]]:
    """The columns p1, p2, att1 and att2 of BFW's table."""
    if path.suffix == ".pkl":
        return read_columns(path, _BFW_COLUMNS)
    rows = read_rows(path, _BFW_COLUMNS)
    return [[row[name] for row in rows] for name in _BFW_COLUMNS]


def _subgroup(text: str, path: Path) -> str:
    """``AF`` of ``asian_females``, or of ``AF`` itself."""
    short = "".join(word[:1] for word in text.split("_")).upper() if "_" in text else text.upper()
    if short not in _BFW_SUBGROUPS:
        raise InputError(f"{path} names the subgroup {text[:40]!r}; needs one of {', '.join(sorted(_BFW_SUBGROUPS))}")
    return short


def _bfw_row(name: str, subgroup: str) -> dict[str, str]:
    identity = f"{subgroup}/{Path(name).parent.name}"
    return {"image": name, "identity": identity, "subgroup": subgroup, "ethnicity": subgroup[0], "gender": subgroup[1]}
