"""Face images that are decoded when they are indexed, so that a test set never lies in memory as floats.

In: image files, or images on disk. Out: uint8 RGB faces, (N, 112, 112, 3), and checks of all files beforehand.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError, python_command
from bench.faces.face import FACE_SIZE, decode_image, image_size, size_problem, to_face_size

MAX_LISTED = 20
MAX_CHARACTERS = 200


class ImageArray(Protocol):
    """N face images, uint8, shape (N, 112, 112, 3), RGB: a NumPy array, a memory map, or ``LazyImages``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> NDArray[np.uint8]: ...


class LazyImages:
    """N face images, uint8, shape (N, 112, 112, 3), RGB; indexing decodes only the indexed images."""

    dtype = np.dtype(np.uint8)

    def __init__(self, read: Callable[[int], NDArray[np.uint8]], positions: NDArray[np.int64]) -> None:
        """Images by position.

        Args:
            read: Returns the image at a position, uint8, shape (112, 112, 3), RGB.
            positions: Positions of the N images, shape (N,); a position may occur several times.
        """
        self.read = read
        self.positions = positions

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape as of an array: (N, 112, 112, 3)."""
        return (len(self.positions), FACE_SIZE, FACE_SIZE, 3)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        chosen = self.positions[index]
        if np.ndim(chosen) == 0:
            return self.read(int(chosen))
        images = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        for row, position in enumerate(chosen):
            images[row] = self.read(int(position))
        return images

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return self[:] if dtype is None else self[:].astype(dtype)


def decode_face(encoded: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image file to a face, uint8, shape (112, 112, 3), RGB; see ``bench.faces.face.to_face_size``.

    Args:
        encoded: The image file.
        name: Name of the image, for messages.

    Raises:
        InputError: If it does not decode, or cannot be an aligned face.
    """
    return to_face_size(decode_image(encoded, name), name)


def check_faces(encoded: Iterator[bytes], names: Sequence[str], source: str, *, aligned: bool = True) -> str:
    """Check type and size of every image file by its header, before hours of embedding.

    Args:
        encoded: Image files, read one at a time.
        names: Names of the images, for messages and the digest.
        source: The test set, for messages.
        aligned: Whether the images are aligned faces. Those that are not may have any size.

    Returns:
        SHA-256 over the digests and names of all files, in hexadecimal.

    Raises:
        InputError: If files are no images or have a wrong size; lists them.
    """
    digest = hashlib.sha256()
    wrong = []
    for name, data in zip(names, encoded, strict=True):
        digest.update(f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode())
        try:
            width, height = image_size(data, name)
        except InputError:
            wrong.append(f"{name} does not decode")
            continue
        if aligned and size_problem(width, height):
            wrong.append(f"{name} is {width} x {height}")
    if wrong:
        kind = f"aligned {FACE_SIZE} x {FACE_SIZE} faces"
        advice = f"replace or align them ({python_command('evaluate pack')})"
        if not aligned:
            kind, advice = "images", "replace them"
        raise InputError(f"{source}: {len(wrong)} of {len(names)} files are not {kind}: {listed(wrong)}; {advice}")
    return digest.hexdigest()


def listed(items: Sequence[str], limit: int = MAX_LISTED) -> str:
    """The first ``limit`` items, separated by commas, and the number of the others; long items are cut."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    shown = [item if len(item) <= MAX_CHARACTERS else f"{item[:MAX_CHARACTERS]}..." for item in items[:limit]]
    return ", ".join(shown) + more
