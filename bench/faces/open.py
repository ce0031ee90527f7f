"""Open a face dataset in any layout: LMDB, RecordIO, WebDataset shards, a folder, or a view of several of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import SelectedFaces
from bench.faces.folders import FolderFaces
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.mixture.view import ViewFaces, is_view
from bench.faces.recordio import RecordFaces
from bench.faces.webdataset import ShardFaces, find_shards
from bench.files import exists, read_array, read_text


def open_faces(path: str | Path, mask: str | Path | None = None, leave_out: set[str] | None = None) -> SelectedFaces:
    """Open a face dataset in any layout. The layout is recognised from the path.

    Args:
        path: One of: an LMDB file, or a folder with ``data.mdb``; insightface's ``.rec`` (with its ``.idx``), or the
            folder of ``train.rec``; a WebDataset ``.tar``, or a folder of them; a folder with one sub-folder of images
            per identity; a folder that ``bench subset`` or ``bench mix`` wrote.
        mask: ``.npy`` file of integer positions, shape (M,). Only the faces at these positions are used, in this order.
        leave_out: Names of identities to leave out, as in ``Faces.identity_names``; see ``read_names``.

    Returns:
        The selected faces, with identities numbered 0, 1, ... without gaps.

    Raises:
        InputError: If the path does not exist or holds no dataset, a file is broken, the mask does not fit, a name to
            leave out is that of no identity, or fewer than two identities are left.

    Example:
        A folder with one sub-folder of images per identity:

        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from bench.faces.face import encode_jpeg
        >>> from bench.faces.open import open_faces
        >>> folder = Path(tempfile.mkdtemp())
        >>> for identity in ("ann", "bob", "cyd"):
        ...     (folder / identity).mkdir()
        ...     for number in range(2):
        ...         jpeg = encode_jpeg(np.full((112, 112, 3), 100 * number, np.uint8))
        ...         _ = (folder / identity / f"{number}.jpg").write_bytes(jpeg)
        >>> faces = open_faces(folder)
        >>> len(faces), faces.num_identities, faces.identity_names
        (6, 3, ['ann', 'bob', 'cyd'])
        >>> faces.identity_ids.tolist()
        [0, 0, 1, 1, 2, 2]
        >>> faces.image(5).shape
        (112, 112, 3)
        >>> open_faces(folder, leave_out={"bob"}).identity_names
        ['ann', 'cyd']
    """
    path = Path(path)
    if not exists(path):
        raise InputError(
            f"{path} does not exist; give an LMDB file, a .rec, WebDataset shards, "
            "or a folder with one sub-folder per identity"
        )
    faces = _open(path)
    positions = np.arange(len(faces)) if mask is None else _read_mask(Path(mask), len(faces))
    if leave_out:
        _refuse_unknown_names(leave_out, faces)
        is_left_out = np.array([name in leave_out for name in faces.identity_names])
        positions = positions[~is_left_out[faces.identity_ids[positions]]]
    faces.select(positions)
    if faces.num_identities < 2:
        raise InputError(f"{path} holds {faces.num_identities} identity; recognition needs at least 2; add identities")
    return faces


def open_view(path: str | Path, places: Mapping[str, Path] | None = None) -> SelectedFaces:
    """Open a folder that ``bench.faces.mixture.view.write_view`` wrote.

    Args:
        path: The folder.
        places: Name of a part -> its present path; other parts are searched at the path in the card.

    Raises:
        InputError: If the view is damaged, or a part is missing or was changed.
    """
    return ViewFaces(Path(path), _open, places or {})


def read_names(path: str | Path) -> set[str]:
    """Names of identities from a text file, one a line. Spaces belong to a name; empty lines are ignored.

    Raises:
        InputError: If the file is missing, is not UTF-8 text, or holds no name.
    """
    names = set(read_text(path).split("\n")) - {""}
    if not names:
        raise InputError(f"{path} holds no name; write one name a line, or leave the file out")
    return names


def _refuse_unknown_names(names: set[str], faces: SelectedFaces) -> None:
    unknown = sorted(names - set(faces.identity_names))
    if unknown:
        raise InputError(
            f"{len(unknown)} of {len(names)} names to leave out, such as {unknown[0][:80]!r}, are no identity of "
            f"{faces.path}, whose names are like {faces.identity_names[0]!r}; write one exact name a line, and delete "
            "the others"
        )


def _open(path: Path) -> SelectedFaces:
    """Open the path with the reader of its layout."""
    if is_view(path):
        return ViewFaces(path, _open)
    if path.is_dir():
        if (path / "data.mdb").is_file():
            return LmdbFaces(path)
        if (path / "train.rec").is_file():
            return RecordFaces(path / "train.rec")
        return ShardFaces(path) if find_shards(path) else FolderFaces(path)
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder; give a face dataset")
    if path.suffix.lower() == ".rec":
        return RecordFaces(path)
    return ShardFaces(path) if path.suffix.lower() == ".tar" else LmdbFaces(path)


def _read_mask(path: Path, num_faces: int) -> NDArray[np.int64]:
    """Positions of a mask file, shape (M,), checked against the number of faces."""
    positions = read_array(path)
    if positions.ndim != 1 or not np.issubdtype(positions.dtype, np.integer):
        raise InputError(
            f"mask {path} has shape {positions.shape} and type {positions.dtype}; give integers of shape (M,)"
        )
    if not positions.size:
        raise InputError(f"mask {path} holds no position; give the positions of the faces to use")
    if not 0 <= positions.min() <= positions.max() < num_faces:
        raise InputError(
            f"mask {path} spans {positions.min()}..{positions.max()}, but the positions are 0..{num_faces - 1}; "
            "give the mask of this dataset"
        )
    return positions.astype(np.int64)
