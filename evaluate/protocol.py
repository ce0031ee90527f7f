"""Verification protocols: named lists of face pairs, read from any layout of the field and checked.

In: an insightface ``.bin``, a SOTA ``.xz``, a folder with ``NAME.npy`` and ``issame.txt``, AdaFace's ``NAME/memfile``,
CVLface's ``NAME/data-*.arrow``, a ``.parquet``, or a folder of images with a pairs file (LFW's layout, or lines ``pathA
pathB 0|1``). Out: a ``Protocol``. Images stay as they are stored until they are indexed, and one that several pairs
share is held, and embedded, once. Legend: P pairs, K distinct images.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import sha256
from bench.runs.hub import fetched_from
from evaluate.layouts.arrow import arrow_files, read_table
from evaluate.layouts.images import LazyImages, check_faces, decode_face, listed
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
    """True where both faces are one identity, shape (P,)."""
    sha256: str
    """Of the file; for a folder, of the list of digests of its files."""
    identity_ids: NDArray[np.int64] | None = None
    """Identity of each of ``faces``, shape (K,), where the layout tells it."""
    identity_names: list[str] | None = None
    """What the layout calls each identity, where it does."""
    fetched_from: str | None = None
    """Repository and commit that the file was fetched from; None where it came by other means."""

    @property
    def images(self) -> LazyImages:
        """All images in pair order a0, b0, a1, b1, ...: uint8, shape (2P, 112, 112, 3), RGB."""
        return LazyImages(self.faces.read, self.faces.positions[self.pairs.ravel()])

    @property
    def num_pairs(self) -> int:
        """Number of pairs."""
        return len(self.is_genuine)


def load_protocol(path: str | Path) -> Protocol:
    """Read a verification set.

    Args:
        path: A ``.bin``, ``.xz`` or ``.parquet`` file, a folder in one of the layouts above, or a pairs file itself.

    Returns:
        The protocol, named after the file or folder (``cfp/pairs_FP.txt`` is ``cfp_fp``).

    Raises:
        InputError: If nothing readable is there, images are missing or broken (all are counted), images and labels
            disagree in number, or a pair is listed twice.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give {_LAYOUTS}")
    if path.is_dir():
        return _load_folder(path)
    if path.suffix == ".npy":
        return _load_npy(path.parent)
    if path.suffix == ".txt":
        return _load_pairs(path)
    return _load_bin(path)


def _load_folder(folder: Path) -> Protocol:
    if (folder / f"{folder.name}.npy").exists():
        return _load_npy(folder)
    if (folder / "memfile").is_dir():
        return _load_array(folder, *read_memfile(folder), to_face, memfile_paths(folder))
    if arrow_files(folder):
        digests = "".join(f"{sha256(file)}  {file.name}\n" for file in arrow_files(folder))
        digest = hashlib.sha256(digests.encode()).hexdigest()
        return _load_encoded(folder, folder.name, *read_table(folder), digest)
    pairs_files = sorted(folder.glob("*pairs*.txt"))
    if len(pairs_files) != 1:
        found = f"the pairs files {listed([file.name for file in pairs_files])}" if pairs_files else "no pairs file"
        raise InputError(f"{folder} holds {found}; give {_LAYOUTS}, or name one pairs file")
    return _load_pairs(pairs_files[0])


def _load_bin(path: Path) -> Protocol:
    digest = sha256(path)
    encoded, is_genuine = read_table(path) if path.suffix == ".parquet" else read_bin(path)
    return _load_encoded(path, path.stem, encoded, is_genuine, digest)


def _load_encoded(path: Path, name: str, encoded: list[bytes], is_genuine: NDArray[np.bool_], digest: str) -> Protocol:
    """A set whose image files, in pair order, lie in memory."""
    kept, positions = _distinct(encoded)
    files = [encoded[i] for i in kept]
    names = [f"image {i}" for i in kept]
    check_faces(iter(files), names, resize=True, where=str(path))

    def read(k: int) -> NDArray[np.uint8]:
        return decode_face(files[k], f"{path} {names[k]}", resize=True)

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
    """A set whose images, of shape (2P, ...), lie in one array on disk; ``files`` make its digest."""
    kept, positions = _distinct(images)

    def read(k: int) -> NDArray[np.uint8]:
        return to_face(images[k])

    digest = hashlib.sha256("".join(f"{sha256(file)}  {file.name}\n" for file in files).encode()).hexdigest()
    return Protocol(folder.name, LazyImages(read, np.array(kept)), positions.reshape(-1, 2), is_genuine, digest)


def _distinct(images: Sequence[bytes] | NDArray) -> tuple[list[int], NDArray[np.int64]]:
    """Positions of the first of equal images, and for each image its place among those."""
    first: dict[bytes, int] = {}
    kept: list[int] = []
    places = np.empty(len(images), dtype=np.int64)
    for i, image in enumerate(images):
        digest = hashlib.blake2b(image if isinstance(image, bytes) else image.tobytes(), digest_size=16).digest()
        if digest not in first:
            first[digest] = len(kept)
            kept.append(i)
        places[i] = first[digest]
    return kept, places


def _load_pairs(path: Path) -> Protocol:
    pairs = read_pairs(path)
    names = sorted({name for pair in pairs for name in pair.names})
    files = find_images(names, path.parent, where=path)
    place = {name: k for k, name in enumerate(names)}
    digest = check_faces((file.read_bytes() for file in files), names, resize=False, where=str(path))

    def read(k: int) -> NDArray[np.uint8]:
        return decode_face(files[k].read_bytes(), str(files[k]), resize=False)

    positions = np.array([[place[name] for name in pair.names] for pair in pairs])
    is_genuine = np.array([pair.is_genuine for pair in pairs])
    digest = hashlib.sha256(f"{sha256(path)}  {path.name}\n{digest}\n".encode()).hexdigest()
    known = _identities(names, positions, is_genuine)
    return Protocol(_name(path), LazyImages(read, np.arange(len(files))), positions, is_genuine, digest, *known)


def _name(path: Path) -> str:
    """The name: ``lfw/pairs.txt`` is ``lfw``, ``cfp/pairs_FP.txt`` and ``cfp_fp/pairs_FP.txt`` are ``cfp_fp``.

    ``rfw/txts/Asian/...`` is ``rfw_asian``.
    """
    folder = path.resolve().parent
    if folder.parent.name == "txts":
        return f"{folder.parent.parent.name}_{folder.name}".lower()
    name, part = folder.name.lower(), path.stem.partition("pairs")[2].lower()
    return name.removesuffix(part) + part


def _identities(
    names: Sequence[str], positions: NDArray[np.int64], is_genuine: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], list[str]] | tuple[None, None]:
    """Identity of each image by its top folder, and the folders, where those agree with every label; else nothing."""
    folders, identity_ids = np.unique([Path(name).parts[0] for name in names], return_inverse=True)
    first, second = identity_ids[positions].T
    return (identity_ids, folders.tolist()) if np.array_equal(first == second, is_genuine) else (None, None)
