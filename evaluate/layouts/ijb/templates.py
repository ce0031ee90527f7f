"""IJB-B and IJB-C in their official layout -> templates of aligned faces, and pairs of templates.

The layout is that of insightface's release, on which the field evaluates. In ``meta/`` lie three lists:
``NAME_face_tid_mid.txt`` (face, template, media), ``NAME_name_5pts_score.txt`` (face, five landmarks, detector score)
and ``NAME_template_pair_label.txt`` (template, template, 1 or 0). In ``loose_crop/`` lie loosely cropped faces, which
are aligned when they are read. A template is a set of faces of one person; a media is one photograph or one video.
Legend: K faces, T templates, P pairs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.alignment.landmarks import Landmarks, read_landmarks
from bench.faces.face import decode_image
from bench.files import is_file, is_hidden, read_text, sha256
from evaluate.layouts.images import LazyImages, check_faces, listed
from evaluate.layouts.labels import is_count

_FACES, _LANDMARKS, _PAIRS = "face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt"
_LINES_PER_BLOCK = 1_000_000


@dataclass(frozen=True)
class TemplateSet:
    """A template protocol: templates, and the pairs of templates that are compared."""

    name: str
    faces: LazyImages
    """uint8, shape (K, 112, 112, 3), RGB, aligned to the ArcFace template."""
    face_names: Sequence[str]
    """Names of the K image files."""
    detector_scores: NDArray[np.float64]
    """Confidence of the face detector for each face, shape (K,)."""
    template_ids: NDArray[np.int64]
    """Template of each face, shape (K,), 0 .. T - 1 without gaps."""
    media_ids: NDArray[np.int64]
    """Media of each face, shape (K,)."""
    pairs: NDArray[np.int32]
    """Templates that are compared, shape (P, 2)."""
    is_genuine: NDArray[np.bool_]
    """True where both templates are of one identity, shape (P,)."""
    sha256: str
    """SHA-256 of the three lists and all faces."""
    template_numbers: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Published number of each template, shape (T,), ascending."""

    @property
    def num_templates(self) -> int:
        """T, the number of templates."""
        return int(self.template_ids.max()) + 1


def is_template_set(path: Path) -> bool:
    """Whether a test set is a folder in this layout."""
    return (path / "meta").is_dir()


def load_templates(folder: str | Path, name: str | None = None) -> TemplateSet:
    """Read a template protocol; without a ``name`` it is named after its lists (``ijbb``, ``ijbc``).

    Repeated pairs are kept, since the official evaluation counts them too.

    Raises:
        InputError: If a list is missing or malformed, lists name different faces, a face is missing or no image, a pair
            names a template without faces, or a template is paired with itself.
    """
    folder = Path(folder)
    lists = _find_lists(folder)
    names, published_template_ids, media_ids = _read_faces(lists[_FACES])
    landmarks = _landmarks_of(names, lists[_LANDMARKS], lists[_FACES])
    published_ids, template_ids = np.unique(published_template_ids, return_inverse=True)
    pairs, is_genuine = _read_pairs(lists[_PAIRS], published_ids)
    files = [folder / "loose_crop" / name for name in names]
    missing = [face for face, file in zip(names, files, strict=True) if not is_file(file)]
    if missing:
        raise InputError(
            f"{folder / 'loose_crop'} lacks {len(missing)} of {len(names)} faces: {listed(missing)}; unpack it again"
        )
    faces_sha256 = check_faces((file.read_bytes() for file in files), names, str(folder), aligned=False)
    digests = "".join(f"{sha256(path)}  {path.name}\n" for path in lists.values())
    digest = hashlib.sha256(f"{digests}{faces_sha256}\n".encode()).hexdigest()

    def read(k: int) -> NDArray[np.uint8]:
        return align(decode_image(files[k].read_bytes(), str(files[k])), landmarks[k].points)

    return TemplateSet(
        name=name or lists[_FACES].name.removesuffix(f"_{_FACES}").lower(),
        faces=LazyImages(read, np.arange(len(files))),
        face_names=names,
        detector_scores=np.array([points.score for points in landmarks]),
        template_ids=template_ids,
        media_ids=media_ids,
        pairs=pairs,
        is_genuine=is_genuine,
        sha256=digest,
        template_numbers=published_ids,
    )


def _find_lists(folder: Path) -> dict[str, Path]:
    """The three lists, by the endings of their names."""
    lists = {}
    for ending in (_FACES, _LANDMARKS, _PAIRS):
        paths = sorted(path for path in (folder / "meta").glob(f"*_{ending}") if not is_hidden(path.name))
        if len(paths) != 1:
            raise InputError(f"{folder / 'meta'} holds {len(paths)} files *_{ending}; needs one, as in the release")
        lists[ending] = paths[0]
    return lists


def _read_faces(path: Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Name, template and media of each face."""
    rows = [line.split() for line in read_text(path).splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3 or not (is_count(row[1]) and is_count(row[2])):
            raise InputError(f"{path} line {number} is {' '.join(row)[:80]!r}; needs 'image template media'")
    if not rows:
        raise InputError(f"{path} is empty; needs lines 'image template media'")
    names, templates, media = zip(*rows, strict=True)
    return list(names), np.array(templates, dtype=np.int64), np.array(media, dtype=np.int64)


def _landmarks_of(names: Sequence[str], path: Path, faces_path: Path) -> list[Landmarks]:
    """Landmarks of each face, in the order of ``names``."""
    landmarks = read_landmarks(path)
    missing = [name for name in names if name not in landmarks]
    if missing:
        raise InputError(f"{path} lacks {len(missing)} faces of {faces_path.name}: {listed(missing)}; unpack it again")
    return [landmarks[name] for name in names]


def _read_pairs(path: Path, published_ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Pairs as positions in ``published_ids`` (ascending), and their labels.

    The list has millions of lines and is read block by block.
    """
    pairs, labels = [], []
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give a text file")
    with path.open(encoding="utf-8-sig") as file:
        while True:
            try:
                lines = file.readlines(16 * _LINES_PER_BLOCK)
                rows = np.loadtxt(lines, dtype=np.int64, ndmin=2) if lines else None
            except (ValueError, OverflowError) as error:  # a UnicodeDecodeError is a ValueError too
                raise InputError(f"{path}: {str(error)[:200]}; needs lines 'template template 0|1'") from None
            if rows is None:
                break
            if rows.shape[1] != 3 or not np.isin(rows[:, 2], (0, 1)).all():
                raise InputError(f"{path} has lines that are not 'template template 0|1'; unpack it again")
            pairs.append(_template_positions(rows[:, :2], published_ids, path))
            labels.append(rows[:, 2] == 1)
    if not pairs:
        raise InputError(f"{path} is empty; needs lines 'template template 0|1'")
    return np.concatenate(pairs), np.concatenate(labels)


def _template_positions(rows: NDArray[np.int64], published_ids: NDArray[np.int64], path: Path) -> NDArray[np.int32]:
    """Published numbers of templates as positions in ``published_ids``, shape (pairs of the block, 2)."""
    positions = np.searchsorted(published_ids, rows).clip(max=len(published_ids) - 1)
    unknown = rows[published_ids[positions] != rows]
    if unknown.size:
        raise InputError(f"{path} names {unknown.size} templates without faces, such as {unknown[0]}; unpack it again")
    paired_with_itself = rows[rows[:, 0] == rows[:, 1], 0]
    if paired_with_itself.size:
        raise InputError(
            f"{path} pairs {paired_with_itself.size} templates with themselves, such as {paired_with_itself[0]}; "
            "correct the list"
        )
    return positions.astype(np.int32)
