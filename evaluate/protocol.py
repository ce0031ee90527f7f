"""Verification protocols: named lists of face pairs, read from any layout of the field and checked.

In: an insightface ``.bin``, a SOTA ``.xz``, ``NAME/NAME.npy`` with ``issame.txt``, or a folder of images with a pairs
file (LFW's layout, or lines ``pathA pathB 0|1``). Out: a ``Protocol``. Images stay encoded until they are indexed, and
an image that several pairs share is held, and embedded, once. Legend: P pairs, K distinct images.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import sha256
from bench.hub import fetched_from
from bench.records import IMAGE_SUFFIXES
from evaluate.images import LazyImages, check_faces, decode_face, listed
from evaluate.packed import read_bin, read_npy

_LAYOUTS = "a .bin, an .xz, NAME/NAME.npy with issame.txt, or a folder of images with a pairs file"


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
        path: A ``.bin`` or ``.xz`` file, a folder with ``NAME.npy`` or with one pairs file, or a pairs file itself.

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
    pairs_files = sorted(folder.glob("*pairs*.txt"))
    if len(pairs_files) != 1:
        found = f"the pairs files {listed([file.name for file in pairs_files])}" if pairs_files else "no pairs file"
        raise InputError(f"{folder} holds {found}; give {_LAYOUTS}, or name one pairs file")
    return _load_pairs(pairs_files[0])


def _load_bin(path: Path) -> Protocol:
    encoded, is_genuine = read_bin(path)
    kept, positions = _distinct(encoded)
    files = [encoded[i] for i in kept]
    names = [f"image {i}" for i in kept]
    check_faces(iter(files), names, resize=True, where=str(path))

    def read(k: int) -> NDArray[np.uint8]:
        return decode_face(files[k], f"{path} {names[k]}", resize=True)

    faces = LazyImages(read, np.arange(len(files)))
    digest = sha256(path)
    origin = fetched_from(path, digest)
    return Protocol(path.stem, faces, positions.reshape(-1, 2), is_genuine, digest, fetched_from=origin)


def _load_npy(folder: Path) -> Protocol:
    images, is_genuine = read_npy(folder)
    kept, positions = _distinct(images)

    def read(k: int) -> NDArray[np.uint8]:
        return images[k].transpose(1, 2, 0)

    files = (folder / f"{folder.name}.npy", folder / "issame.txt")
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


@dataclass(frozen=True)
class _Pair:
    """One line of a pairs file: two image names without and with certain suffix, and the label."""

    line: int
    names: tuple[str, str]
    is_genuine: bool


def _load_pairs(path: Path) -> Protocol:
    pairs = _read_pairs(path)
    _check_pairs(pairs, path)
    names = sorted({name for pair in pairs for name in pair.names})
    files = _find_files(names, path)
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
    """``lfw/pairs.txt`` -> ``lfw``, ``cfp/pairs_FP.txt`` -> ``cfp_fp``."""
    folder = path.resolve().parent.name
    return (folder + path.stem.partition("pairs")[2]).lower()


def _read_pairs(path: Path) -> list[_Pair]:
    """Parse either layout; LFW's is known by its first line, ``10<tab>300`` (folds, pairs of each kind per fold)."""
    try:
        rows = [
            (number, line.split("\t") if "\t" in line else line.split())
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            if line.strip()
        ]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text ({error.reason} at byte {error.start}); give a pairs file") from None
    if not rows:
        raise InputError(f"{path} is empty; needs lines 'pathA pathB 0|1' or LFW's layout")
    header = rows[0][1]
    if not (len(header) == 2 and all(part.strip().isdigit() for part in header)):
        return [_generic_pair(number, parts, path) for number, parts in rows]
    num_folds, per_fold = map(int, header)
    pairs = [_lfw_pair(number, parts, path) for number, parts in rows[1:]]
    if len(pairs) != 2 * num_folds * per_fold:
        raise InputError(
            f"{path} holds {len(pairs)} pairs, but its first line says {num_folds} folds of {per_fold} genuine and "
            f"{per_fold} impostor pairs, {2 * num_folds * per_fold} in all; mend the file"
        )
    return pairs


def _generic_pair(number: int, parts: list[str], path: Path) -> _Pair:
    if len(parts) != 3 or parts[2] not in ("0", "1"):
        raise InputError(f"{path} line {number} is {' '.join(parts)!r}; needs 'pathA pathB 0|1' (1 = genuine)")
    return _Pair(number, (parts[0], parts[1]), parts[2] == "1")


def _lfw_pair(number: int, parts: list[str], path: Path) -> _Pair:
    fields = [part.strip() for part in parts]
    if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
        fields = [fields[0], fields[1], fields[0], fields[2]]
    if len(fields) != 4 or not (fields[1].isdigit() and fields[3].isdigit()):
        raise InputError(f"{path} line {number} is {' '.join(parts)!r}; needs 'name i j' or 'name1 i name2 j'")
    first, second = (f"{name}/{name}_{int(index):04d}" for name, index in (fields[:2], fields[2:]))
    return _Pair(number, (first, second), fields[0] == fields[2])


def _check_pairs(pairs: Sequence[_Pair], path: Path) -> None:
    """Refuse an image paired with itself, a pair listed twice, and a pair that is genuine once and impostor once.

    The same two images in the other order are let through: the official CFP-FF list holds 130 such pairs.
    """
    wrong = [f"line {pair.line}: {pair.names[0]} is its own partner" for pair in pairs if len(set(pair.names)) == 1]
    seen: dict[tuple[str, str], _Pair] = {}
    for pair in pairs:
        earlier = seen.setdefault(pair.names, pair)
        if earlier is not pair:
            wrong.append(f"line {pair.line}: the pair of line {earlier.line} again")
        swapped = seen.get((pair.names[1], pair.names[0]))
        if swapped is not None and swapped.is_genuine != pair.is_genuine:
            wrong.append(f"line {pair.line}: the pair of line {swapped.line} with the other label")
    if wrong:
        raise InputError(f"{path} has {len(wrong)} wrong pairs: {listed(wrong)}; mend the pairs file")


def _find_files(names: Sequence[str], path: Path) -> list[Path]:
    """File of each image name: beside the pairs file or in ``images/`` there; any image suffix where none is given."""
    roots = [path.parent, path.parent / "images"]
    found = [next(_candidates(name, roots), None) for name in names]
    missing = [name for name, file in zip(names, found, strict=True) if file is None]
    if missing:
        raise InputError(
            f"{path} names {len(missing)} missing images (of {len(names)}): {listed(missing, 50)}; "
            f"put them under {path.parent}, or take their pairs out"
        )
    return [file for file in found if file is not None]


def _candidates(name: str, roots: Sequence[Path]) -> Iterator[Path]:
    suffixes = [""] if Path(name).suffix.lower() in IMAGE_SUFFIXES else sorted(IMAGE_SUFFIXES)
    for root in roots:
        for suffix in suffixes:
            file = root / f"{name}{suffix}"
            if file.is_file():
                yield file


def _identities(
    names: Sequence[str], positions: NDArray[np.int64], is_genuine: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], list[str]] | tuple[None, None]:
    """Identity of each image by its top folder, and the folders, where those agree with every label; else nothing."""
    folders, identity_ids = np.unique([Path(name).parts[0] for name in names], return_inverse=True)
    first, second = identity_ids[positions].T
    return (identity_ids, folders.tolist()) if np.array_equal(first == second, is_genuine) else (None, None)
