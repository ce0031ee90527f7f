"""Verification protocols: named lists of face pairs, read from any layout of the field and checked.

In: an insightface ``.bin``, a SOTA ``.xz``, a folder with ``NAME.npy`` and ``issame.txt``, AdaFace's ``NAME/memfile``,
CVLface's ``NAME/data-*.arrow``, a ``.parquet``, or a folder of images with a pairs file (layouts of LFW, RFW and CALFW,
or lines ``pathA pathB 0|1``). Out: a ``Protocol``. Images stay as stored until they are indexed. An image that several
pairs share is held, and later embedded, once. Legend: P pairs, K distinct images.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import exists, is_hidden, sha256
from bench.runs.hub import fetched_from
from evaluate.layouts.arrow import arrow_files, read_table
from evaluate.layouts.images import MAX_CHARACTERS, LazyImages, check_faces, decode_face, listed
from evaluate.layouts.memfile import memfile_paths, read_memfile, to_face
from evaluate.layouts.packed import read_bin, read_npy
from evaluate.layouts.pairs import find_images, read_pairs

_LAYOUTS = (
    "a .bin, .xz or .parquet, NAME/NAME.npy with issame.txt, NAME/memfile, NAME/data-*.arrow, or a folder of images "
    "with a pairs file"
)


@dataclass(frozen=True)
class Protocol:
    """Verification pairs in published order."""

    name: str
    faces: LazyImages
    """The distinct images, uint8, shape (K, 112, 112, 3), RGB."""
    pairs: NDArray[np.int64]
    """Positions in ``faces``, shape (P, 2)."""
    is_genuine: NDArray[np.bool_]
    """True where both faces are of one identity, shape (P,)."""
    sha256: str
    """SHA-256 of the file; for a folder, of the list of the digests of its files."""
    identity_ids: NDArray[np.int64] | None = None
    """Identity of each of ``faces``, shape (K,); None where the layout does not state it."""
    identity_names: list[str] | None = None
    """Name of each identity in the layout; None where it does not state them."""
    fetched_from: str | None = None
    """Repository and commit that the file was downloaded from; None if it was placed by hand."""

    @property
    def images(self) -> LazyImages:
        """All images in pair order a0, b0, a1, b1, ...: uint8, shape (2P, 112, 112, 3), RGB."""
        return LazyImages(self.faces.read, self.faces.positions[self.pairs.ravel()])

    @property
    def num_pairs(self) -> int:
        """Number of pairs."""
        return len(self.is_genuine)


def load_protocol(path: str | Path, name: str | None = None) -> Protocol:
    """Read a test set.

    Args:
        path: A ``.bin``, ``.xz`` or ``.parquet`` file, a folder in one of the layouts above, or a pairs file.
        name: Name that the set was asked for by; None names it after the file or folder, or after the link to it
            (``cfp/pairs_FP.txt`` is ``cfp_fp``).

    Returns:
        The protocol.

    Raises:
        InputError: If the path does not exist or has none of these layouts, images are missing or broken (all are
            counted), images and labels disagree in number, or a pair is listed twice.

    Example:
        >>> from evaluate.protocol import load_protocol
        >>> protocol = load_protocol("test_sets/lfw.bin")
        >>> first_face, second_face = protocol.images[0], protocol.images[1]
        >>> print(protocol.num_pairs, protocol.is_genuine[0])
    """
    path = Path(path)
    if path.name in ("", ".."):
        path = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links, which have names of their own)
    protocol = _load(path)
    return protocol if name is None else replace(protocol, name=name)


def _load(path: Path) -> Protocol:
    if not exists(path):
        raise InputError(f"{str(path)[:MAX_CHARACTERS]} does not exist; give {_LAYOUTS}")
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder; give {_LAYOUTS}")
    if path.suffix == ".npy":
        return _load_npy(path.parent)
    if path.suffix == ".txt":
        return _load_pairs(path)
    image_files, is_genuine = read_table(path) if path.suffix == ".parquet" else read_bin(path)
    return _load_encoded(path, path.stem, image_files, is_genuine, sha256(path))


def _load_folder(folder: Path) -> Protocol:
    if (folder / f"{folder.name}.npy").exists():
        return _load_npy(folder)
    if (folder / "memfile").is_dir():
        return _load_array(folder, *read_memfile(folder), to_face, memfile_paths(folder))
    if arrow_files(folder):
        return _load_encoded(folder, folder.name, *read_table(folder), _sha256_of_files(arrow_files(folder)))
    pairs_files = sorted(path for path in folder.glob("*pairs*.txt") if not is_hidden(path.name))
    if len(pairs_files) != 1:
        names = f"the pairs files {listed([file.name for file in pairs_files])}" if pairs_files else "no pairs file"
        raise InputError(f"{folder} holds {names}; give {_LAYOUTS}, or name one pairs file")
    return _load_pairs(pairs_files[0])


def _load_encoded(
    path: Path, name: str, image_files: list[bytes], is_genuine: NDArray[np.bool_], digest: str
) -> Protocol:
    """A set whose image files, in pair order, are in memory."""
    distinct, positions = _distinct(image_files)
    files = [image_files[i] for i in distinct]
    names = [f"image {i}" for i in distinct]
    check_faces(iter(files), names, str(path))

    def read(k: int) -> NDArray[np.uint8]:
        return decode_face(files[k], f"{path} {names[k]}")

    faces = LazyImages(read, np.arange(len(files)))
    origin = fetched_from(path, digest)
    return Protocol(name, faces, positions.reshape(-1, 2), is_genuine, digest, fetched_from=origin)


def _load_npy(folder: Path) -> Protocol:
    files = (folder / f"{folder.name}.npy", folder / "issame.txt")
    return _load_array(folder, *read_npy(folder), lambda image: image.transpose(1, 2, 0), files)


def _load_array(
    folder: Path,
    images: NDArray,
    is_genuine: NDArray[np.bool_],
    to_face: Callable[[NDArray], NDArray[np.uint8]],
    files: Sequence[Path],
) -> Protocol:
    """A set whose images, shape (2P, ...), are one array on disk; ``files`` are those that enter its digest."""
    distinct, positions = _distinct(images)

    def read(k: int) -> NDArray[np.uint8]:
        return to_face(images[k])

    faces = LazyImages(read, np.array(distinct))
    return Protocol(folder.name, faces, positions.reshape(-1, 2), is_genuine, _sha256_of_files(files))


def _sha256_of_files(files: Sequence[Path]) -> str:
    """SHA-256 of the list of digests and names of several files."""
    return hashlib.sha256("".join(f"{sha256(file)}  {file.name}\n" for file in files).encode()).hexdigest()


def _distinct(images: Sequence[bytes] | NDArray) -> tuple[list[int], NDArray[np.int64]]:
    """Positions of the distinct images, and for each image the index of its equal in that list."""
    index_of_digest: dict[bytes, int] = {}
    distinct: list[int] = []
    indices = np.empty(len(images), dtype=np.int64)
    for i, image in enumerate(images):
        digest = hashlib.blake2b(image if isinstance(image, bytes) else image.tobytes(), digest_size=16).digest()
        if digest not in index_of_digest:
            index_of_digest[digest] = len(distinct)
            distinct.append(i)
        indices[i] = index_of_digest[digest]
    return distinct, indices


def _load_pairs(path: Path) -> Protocol:
    """A set of image files and a pairs file."""
    pairs = read_pairs(path)
    names = sorted({name for pair in pairs for name in pair.names})
    files = find_images(names, path.parent, source=path)
    faces_digest = check_faces((file.read_bytes() for file in files), names, str(path))

    def read(k: int) -> NDArray[np.uint8]:
        return decode_face(files[k].read_bytes(), str(files[k]))

    index_of_name = {name: k for k, name in enumerate(names)}
    positions = np.array([(index_of_name[pair.names[0]], index_of_name[pair.names[1]]) for pair in pairs])
    is_genuine = np.array([pair.is_genuine for pair in pairs])
    digest = hashlib.sha256(f"{sha256(path)}  {path.name}\n{faces_digest}\n".encode()).hexdigest()
    identities = _identities(names, positions, is_genuine)
    return Protocol(_name(path), LazyImages(read, np.arange(len(files))), positions, is_genuine, digest, *identities)


def _name(path: Path) -> str:
    """Name of a set with a pairs file.

    ``lfw/pairs.txt`` and ``lfw/pairs_LFW.txt`` are ``lfw``; ``cfp/pairs_FP.txt`` and ``cfp_fp/pairs_FP.txt`` are
    ``cfp_fp``; ``rfw/txts/Asian/Asian_pairs.txt`` is ``rfw_asian``.
    """
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 (a link to the folder keeps its name)
    if folder.parent.name == "txts":
        return f"{folder.parent.parent.name}_{folder.name}".lower()
    name, part = folder.name.lower(), path.stem.partition("pairs")[2].lower().strip("_-. ")
    return name if not part or f"_{name}".endswith(f"_{part}") else f"{name}_{part}"


def _identities(
    names: Sequence[str], positions: NDArray[np.int64], is_genuine: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], list[str]] | tuple[None, None]:
    """Identity of each image, taken from its top folder, and the names of these folders.

    None, None where the folders contradict a label.
    """
    folders, identity_ids = np.unique([Path(name).parts[0] for name in names], return_inverse=True)
    first, second = identity_ids[positions].T
    return (identity_ids, folders.tolist()) if np.array_equal(first == second, is_genuine) else (None, None)
