"""Sets of searches: galleries of enrolled people, probes, and distractors whom nobody searches for.

Two layouts are read. This suite's own is a folder with ``searches.csv``, a line per face with ``identity`` and ``role``
(gallery, distractor or probe), beside images or an array as ``face_table.py`` describes. TinyFace's is that of its
release: ``Gallery_Match``, ``Gallery_Distractor`` and ``Probe`` with the two lists ``probe_img_ID_pairs.mat`` and
``gallery_match_img_ID_pairs.mat``. Legend: Q probes, N gallery entries, K faces.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES
from bench.files import is_file, is_hidden, sha256
from evaluate.layouts.face_table import SEARCHES_FILE, open_faces, open_images, read_rows
from evaluate.layouts.images import LazyImages, listed

NOBODY = -1
"""Identity of a distractor: the mate of no probe."""
_ROLES = ("gallery", "distractor", "probe")
_PROBE_LIST, _GALLERY_LIST = "probe_img_ID_pairs.mat", "gallery_match_img_ID_pairs.mat"
_DISTRACTORS = "Gallery_Distractor"


@dataclass(frozen=True)
class Enrolment:
    """Rows of embeddings, of faces or of templates, and the identity of each."""

    rows: NDArray[np.int64]
    identity_ids: NDArray[np.int64]
    """Identity of each row; ``NOBODY`` for a distractor."""


@dataclass(frozen=True)
class Searches:
    """Which rows are searched for in which galleries."""

    probes: Enrolment
    galleries: Mapping[str, Enrolment]


@dataclass(frozen=True)
class SearchSet:
    """Searches among faces."""

    name: str
    faces: LazyImages
    """uint8, shape (K, 112, 112, 3), RGB."""
    searches: Searches
    sha256: str
    """SHA-256 of the lists and the images."""


def is_search_set(path: Path) -> bool:
    """Whether a test set is a folder in one of the layouts above."""
    return (path / SEARCHES_FILE).is_file() or _tinyface_folder(path) is not None


def load_search_set(folder: str | Path, name: str | None = None) -> SearchSet:
    """Read a set of searches.

    Raises:
        InputError: If a list or an image is missing or malformed, a person is enrolled twice (in ``searches.csv``), a
            distractor is searched for, or no probe has a mate.
    """
    folder = Path(folder)
    tinyface = _tinyface_folder(folder)
    return _load_tinyface(tinyface, name or "tinyface") if tinyface else _load_table(folder, name or folder.name)


def _load_table(folder: Path, name: str) -> SearchSet:
    path = folder / SEARCHES_FILE
    rows = read_rows(path, ("identity", "role"))
    wrong = sorted({row["role"] for row in rows} - set(_ROLES))
    if wrong:
        raise InputError(f"{path} has the roles {listed(wrong, 5)}; each must be one of {', '.join(_ROLES)}")
    faces, digest = open_faces(folder, rows, path)
    roles = np.array([row["role"] for row in rows])
    names, identity_ids = np.unique([row["identity"] for row in rows], return_inverse=True)
    enrolled, counts = np.unique(identity_ids[roles == "gallery"], return_counts=True)
    if (counts > 1).any():
        twice = names[enrolled[counts > 1]].tolist()
        raise InputError(f"{path} enrols {len(twice)} people twice: {listed(twice, 5)}; keep one face of each")
    searched = np.intersect1d(identity_ids[roles == "distractor"], identity_ids[roles != "distractor"])
    if searched.size:
        raise InputError(
            f"{path}: {searched.size} distractors are also enrolled or searched for: "
            f"{listed(names[searched].tolist(), 5)}; give them the role gallery, or remove them"
        )
    is_entry = roles != "probe"
    ids = np.where(roles == "distractor", NOBODY, identity_ids)
    gallery = Enrolment(np.flatnonzero(is_entry), ids[is_entry])
    probes = Enrolment(np.flatnonzero(~is_entry), identity_ids[~is_entry])
    searches = Searches(probes, {"gallery": gallery})
    check_searches(searches, path)
    digests = f"{sha256(path)}  {SEARCHES_FILE}\n{digest}\n"
    return SearchSet(name, faces, searches, hashlib.sha256(digests.encode()).hexdigest())


def check_searches(searches: Searches, source: Path) -> None:
    """Refuse searches from which no identification rate follows.

    Raises:
        InputError: If there is no probe, no gallery entry, or no probe has a mate in any gallery.
    """
    if not searches.probes.rows.size:
        raise InputError(f"{source} has no probes; add lines with the role probe")
    for name, gallery in searches.galleries.items():
        if not gallery.rows.size:
            raise InputError(f"{source}: {name} is empty; add the people that it holds")
    entries = np.concatenate([gallery.identity_ids for gallery in searches.galleries.values()])
    if not np.isin(searches.probes.identity_ids, entries).any():
        raise InputError(
            f"{source}: none of {searches.probes.rows.size} probes has a mate in the gallery; add searches for people "
            "who are enrolled"
        )


def _tinyface_folder(path: Path) -> Path | None:
    """The folder with TinyFace's lists, ``path`` or its ``Testing_Set``; None if there is none."""
    folders = (path, path / "Testing_Set", path / "tinyface" / "Testing_Set")
    return next((folder for folder in folders if is_file(folder / _GALLERY_LIST)), None)


def _load_tinyface(folder: Path, name: str) -> SearchSet:
    """TinyFace: all images of the two lists, and every image of the folder of distractors."""
    probe_names, probe_ids = _read_list(folder / _PROBE_LIST, "probe_set", "probe_ids")
    gallery_names, gallery_ids = _read_list(folder / _GALLERY_LIST, "gallery_set", "gallery_ids")
    distractors = sorted(
        path.name
        for path in (folder / _DISTRACTORS).glob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.name)
    )
    if not distractors:
        raise InputError(f"{folder / _DISTRACTORS} holds no images; unpack TinyFace again")
    names = [f"Probe/{each}" for each in probe_names]
    names += [f"Gallery_Match/{each}" for each in gallery_names] + [f"{_DISTRACTORS}/{each}" for each in distractors]
    missing = [each for each in names if not is_file(folder / each)]
    if missing:
        raise InputError(f"{folder} lacks {len(missing)} of {len(names)} images: {listed(missing, 5)}; unpack it again")
    faces, digest = open_images([folder / each for each in names], names, folder)
    num_probes, num_mates = len(probe_names), len(gallery_names)
    ids = np.concatenate([gallery_ids, np.full(len(distractors), NOBODY)])
    searches = Searches(
        Enrolment(np.arange(num_probes), probe_ids),
        {"gallery": Enrolment(np.arange(num_probes, num_probes + num_mates + len(distractors)), ids)},
    )
    check_searches(searches, folder)
    digests = "".join(f"{sha256(folder / each)}  {each}\n" for each in (_PROBE_LIST, _GALLERY_LIST)) + f"{digest}\n"
    return SearchSet(name, faces, searches, hashlib.sha256(digests.encode()).hexdigest())


def _read_list(path: Path, names_key: str, ids_key: str) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Names of images and their identities from one of TinyFace's MATLAB files."""
    from scipy.io import loadmat  # here, since only TinyFace needs it

    if not is_file(path):
        raise InputError(f"{path} is missing; unpack TinyFace again")
    try:
        content = loadmat(path, variable_names=(names_key, ids_key))
    except Exception as error:  # scipy raises errors of many types for files of other kinds
        raise InputError(f"{path} is no MATLAB file of version 5 ({str(error)[:100]}); unpack TinyFace again") from None
    missing = [key for key in (names_key, ids_key) if key not in content]
    if missing:
        raise InputError(f"{path} lacks {' and '.join(missing)}; give the list of TinyFace's Testing_Set")
    names = [str(np.ravel(cell)[0]) if np.size(cell) else "" for cell in content[names_key].ravel()]
    ids = content[ids_key].ravel()
    if not names or len(names) != len(ids) or not all(names) or ids.dtype.kind not in "iuf":
        raise InputError(f"{path} holds {len(names)} names and {len(ids)} identities; needs a number for every name")
    return names, ids.astype(np.int64)
