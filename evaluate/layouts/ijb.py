"""IJB-B and IJB-C in their official layout -> faces, aligned when they are read, templates, pairs of templates.

The layout of the release that the field evaluates on (insightface's IJB): in ``meta/`` the lists
``NAME_face_tid_mid.txt`` (face, template, media), ``NAME_name_5pts_score.txt`` (face, five landmarks, the detector's
score) and ``NAME_template_pair_label.txt`` (template, template, 1 or 0); in ``loose_crop/`` the faces, loosely cropped.
A media is one photograph or one video.
Legend: K faces, T templates, P pairs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import decode_image
from bench.files import sha256
from evaluate.layouts.align import align
from evaluate.layouts.images import LazyImages, check_faces, listed
from evaluate.layouts.landmarks import Landmarks, read_landmarks

_FACES, _LANDMARKS, _PAIRS = "face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt"
_LINES_PER_BLOCK = 1_000_000


@dataclass(frozen=True)
class TemplateSet:
    """Templates, and which of them are compared."""

    name: str
    faces: LazyImages
    """uint8, shape (K, 112, 112, 3), RGB, aligned to the ArcFace template."""
    face_names: Sequence[str]
    """K names of image files."""
    detector_scores: NDArray[np.float64]
    """How sure the detector was of each face, shape (K,)."""
    template_ids: NDArray[np.int64]
    """Template of each face, shape (K,), 0 .. T - 1 without gaps."""
    media_ids: NDArray[np.int64]
    """Photograph or video that each face comes from, shape (K,)."""
    pairs: NDArray[np.int32]
    """Templates that are compared, shape (P, 2)."""
    is_genuine: NDArray[np.bool_]
    """True where both templates are of one identity, shape (P,)."""
    sha256: str
    """Of the three lists and all faces."""

    @property
    def num_templates(self) -> int:
        """T."""
        return int(self.template_ids.max()) + 1


def is_template_set(path: Path) -> bool:
    """Whether a test set is a folder in this layout."""
    return (path / "meta").is_dir()


def load_templates(folder: str | Path) -> TemplateSet:
    """Read a template protocol; its name is that of its lists (``ijbb``, ``ijbc``).

    Pairs are taken as they are listed, repeated ones too: so counts the official evaluation.

    Raises:
        InputError: If a list is missing or holds something else, lists name different faces, a face is missing or no
            image, a pair names a template without faces, or a template is its own partner.
    """
    folder = Path(folder)
    lists = _find_lists(folder)
    names, ids, media_ids = _read_faces(lists[_FACES])
    landmarks = _landmarks_of(names, lists[_LANDMARKS], lists[_FACES])
    published_ids, template_ids = np.unique(ids, return_inverse=True)
    pairs, is_genuine = _read_pairs(lists[_PAIRS], published_ids)
    files = [folder / "loose_crop" / name for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if not file.is_file()]
    if missing:
        raise InputError(
            f"{folder / 'loose_crop'} lacks {len(missing)} of {len(names)} faces: {listed(missing)}; unpack it again"
        )
    faces_sha256 = check_faces((file.read_bytes() for file in files), names, resize=None, where=str(folder))
    digests = "".join(f"{sha256(path)}  {path.name}\n" for path in lists.values())
    digest = hashlib.sha256(f"{digests}{faces_sha256}\n".encode()).hexdigest()

    def read(k: int) -> NDArray[np.uint8]:
        return align(decode_image(files[k].read_bytes(), str(files[k])), landmarks[k].points)

    faces = LazyImages(read, np.arange(len(files)))
    detector_scores = np.array([one.score for one in landmarks])
    name = lists[_FACES].name.removesuffix(f"_{_FACES}").lower()
    return TemplateSet(name, faces, names, detector_scores, template_ids, media_ids, pairs, is_genuine, digest)


def _find_lists(folder: Path) -> dict[str, Path]:
    """The three lists by what they end with."""
    found = {}
    for ending in (_FACES, _LANDMARKS, _PAIRS):
        paths = sorted((folder / "meta").glob(f"*_{ending}"))
        if len(paths) != 1:
            raise InputError(f"{folder / 'meta'} holds {len(paths)} files *_{ending}; needs one, as in the release")
        found[ending] = paths[0]
    return found


def _read_faces(path: Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Name, template and media of each face."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3 or not (row[1].isdigit() and row[2].isdigit()):
            raise InputError(f"{path} line {number} is {' '.join(row)[:80]!r}; needs 'image template media'")
    if not rows:
        raise InputError(f"{path} is empty; needs lines 'image template media'")
    names, templates, media = zip(*rows, strict=True)
    return list(names), np.array(templates, dtype=np.int64), np.array(media, dtype=np.int64)


def _landmarks_of(names: Sequence[str], path: Path, faces_path: Path) -> list[Landmarks]:
    """Landmarks of each face, in the order of ``names``."""
    found = read_landmarks(path)
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{path} lacks {len(missing)} faces of {faces_path.name}: {listed(missing)}; unpack it again")
    return [found[name] for name in names]


def _read_pairs(path: Path, published_ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Pairs as positions in ``published_ids``, which rise, and their labels; millions of lines, block by block."""
    pairs, labels = [], []
    with path.open(encoding="utf-8") as file:
        while lines := file.readlines(16 * _LINES_PER_BLOCK):
            try:
                rows = np.loadtxt(lines, dtype=np.int64, ndmin=2)
            except ValueError as error:
                raise InputError(f"{path}: {error}; needs lines 'template template 0|1'") from None
            if rows.shape[1] != 3 or not np.isin(rows[:, 2], (0, 1)).all():
                raise InputError(f"{path} has lines that are not 'template template 0|1'; unpack it again")
            places = np.searchsorted(published_ids, rows[:, :2]).clip(max=len(published_ids) - 1)
            unknown = rows[:, :2][published_ids[places] != rows[:, :2]]
            if unknown.size:
                raise InputError(f"{path} names {unknown.size} templates without faces, as {unknown[0]}; unpack again")
            alone = rows[rows[:, 0] == rows[:, 1], 0]
            if alone.size:
                raise InputError(f"{path}: {alone.size} templates are their own partner, as {alone[0]}; mend the list")
            pairs.append(places.astype(np.int32))
            labels.append(rows[:, 2] == 1)
    if not pairs:
        raise InputError(f"{path} is empty; needs lines 'template template 0|1'")
    return np.concatenate(pairs), np.concatenate(labels)
