"""Unlabelled pairs of a challenge: ``images.npy``, or an ``.xz`` of it, as DataCV publishes them.

The array is uint8 of shape (2P, 3, 112, 112), RGB, in pair order a0, b0, a1, b1, ...; nothing says which pairs are
genuine. Legend: P pairs, B images of a batch.
"""

import lzma
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE

_XZ_MAGIC = bytes.fromhex("fd377a585a00")
_ARRAY_NAME = "images.npy"
_FACE_BYTES = 3 * FACE_SIZE * FACE_SIZE
_FETCH_AGAIN = "fetch it again"


@dataclass(frozen=True)
class UnlabelledPairs:
    """The pairs of one file. Images are read as they are asked for, so that any number fits into memory."""

    path: Path
    """The file."""
    name: str
    """``testA`` for ``testA.xz``, ``testA/images.npy`` and the folder ``testA``."""
    num_images: int
    """2P."""

    @property
    def num_pairs(self) -> int:
        """Number of pairs, P."""
        return self.num_images // 2

    def batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Images in pair order, uint8, shape (B, 3, 112, 112) with B at most ``size``.

        Raises:
            InputError: If the file is cut short or broken, or holds more than its header states.
        """
        with closing(_open(self.path)) as file:
            _read_header(file, self.path)
            for start in range(0, self.num_images, size):
                count = min(size, self.num_images - start)
                content = _read(file, count * _FACE_BYTES, self.path)
                if len(content) < count * _FACE_BYTES:
                    raise InputError(f"{self.path} ends before image {self.num_images}; {_FETCH_AGAIN}")
                yield np.frombuffer(content, np.uint8).reshape(count, 3, FACE_SIZE, FACE_SIZE)
            if _read(file, 1, self.path):
                raise InputError(f"{self.path} goes on after its {self.num_images} images; {_FETCH_AGAIN}")


def open_unlabelled(path: str | Path) -> UnlabelledPairs:
    """The pairs of an ``.xz``, of an ``.npy``, or of a folder that holds ``images.npy``.

    Raises:
        InputError: If the file is missing, is no array of this shape and type, or holds an odd number of images.
    """
    path = Path(path)
    path = path / _ARRAY_NAME if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path} does not exist; give an .xz or .npy of images, or a folder with {_ARRAY_NAME}")
    with closing(_open(path)) as file:
        shape, dtype = _read_header(file, path)
    if dtype != np.uint8 or shape[1:] != (3, FACE_SIZE, FACE_SIZE):
        raise InputError(
            f"{path} holds {dtype} of shape {shape}; give uint8 of shape (2P, 3, {FACE_SIZE}, {FACE_SIZE}), RGB"
        )
    if shape[0] % 2 or not shape[0]:
        raise InputError(f"{path} holds {shape[0]} images; give two for each pair, in the order a0, b0, a1, b1")
    name = path.resolve().parent.name if path.name == _ARRAY_NAME else path.stem
    return UnlabelledPairs(path, name, shape[0])


def write_unlabelled(path: str | Path, images: NDArray[np.uint8]) -> None:
    """Write an ``.xz`` of an ``.npy``, as of DataCV; images uint8, shape (2P, 3, 112, 112), RGB, in pair order."""
    with lzma.open(path, "wb") as file:
        npy_format.write_array(file, np.ascontiguousarray(images), version=(1, 0), allow_pickle=False)


def _open(path: Path) -> IO[bytes]:
    file = path.open("rb")
    is_compressed = file.read(len(_XZ_MAGIC)) == _XZ_MAGIC
    file.close()
    return lzma.open(path, "rb") if is_compressed else path.open("rb")


def _read_header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the header of an ``.npy`` states; afterwards the file stands at the first image."""
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    try:
        version = npy_format.read_magic(file)
        shape, is_fortran, dtype = readers[version](file)
    except Exception as error:  # lzma's errors, and a damaged header can raise nearly anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:120]
        raise InputError(
            f"{path} is no .npy, or .xz of one ({reason}); give the unlabelled pairs of the challenge"
        ) from None
    if is_fortran:
        raise InputError(f"{path} is in Fortran order; write it again with np.ascontiguousarray")
    return shape, dtype


def _read(file: IO[bytes], num_bytes: int, path: Path) -> bytes:
    try:
        return file.read(num_bytes)
    except (lzma.LZMAError, EOFError) as error:
        raise InputError(f"{path} is a broken .xz ({error}); {_FETCH_AGAIN}") from None
