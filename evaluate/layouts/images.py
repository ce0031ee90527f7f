"""Images that are decoded only when they are indexed, so that a verification set never lies in memory as floats."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.errors import InputError
from bench.faces.face import FACE_SIZE, decode_image

MAX_LISTED = 20


class ImageArray(Protocol):
    """What an embed function needs of images: a NumPy array, a memory map, or ``LazyImages``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> NDArray[np.uint8]: ...


class LazyImages:
    """N face images, uint8, shape (N, 112, 112, 3), RGB; indexing decodes just what is asked for."""

    dtype = np.dtype(np.uint8)

    def __init__(self, read: Callable[[int], NDArray[np.uint8]], positions: NDArray[np.int64]) -> None:
        """View of images by position.

        Args:
            read: Position -> one image, uint8 (112, 112, 3) RGB.
            positions: Which images, in which order, shape (N,); one may occur several times.
        """
        self.read = read
        self.positions = positions

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As of an array: (N, 112, 112, 3)."""
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


def decode_face(encoded: bytes, name: str, *, resize: bool) -> NDArray[np.uint8]:
    """Decode an image file to a face, uint8 (112, 112, 3) RGB.

    Args:
        encoded: The image file.
        name: What to call it in messages.
        resize: Whether a square image of another size is scaled, as the field's ``.bin`` reader does.

    Raises:
        InputError: If it does not decode.
    """
    image = decode_image(encoded, name)
    if resize and image.shape[0] != FACE_SIZE:
        image = np.asarray(Image.fromarray(image).resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BICUBIC))
    return image


def check_faces(encoded: Iterator[bytes], names: Sequence[str], *, resize: bool | None, where: str) -> str:
    """Look at the header of every image file, before hours are spent on the first ones.

    Args:
        encoded: Image files, taken one at a time.
        names: What to call them.
        resize: Whether square images of another size are fine; None where any size is, as of faces not aligned yet.
        where: The verification set, for messages.

    Returns:
        SHA-256 over the digests and names of all files, in hexadecimal.

    Raises:
        InputError: If some are no images, or not of the right size; lists them.
    """
    digest = hashlib.sha256()
    wrong = []
    for name, data in zip(names, encoded, strict=True):
        digest.update(f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode())
        try:
            width, height = Image.open(io.BytesIO(data)).size
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            wrong.append(f"{name} does not decode")
            continue
        is_fine = resize is None or (width, height) == (FACE_SIZE, FACE_SIZE) or (resize and width == height)
        if not is_fine:
            wrong.append(f"{name} is {width} x {height}")
    if wrong:
        kind = "images" if resize is None else f"aligned {FACE_SIZE} x {FACE_SIZE} faces"
        advice = "replace them" + ("" if resize is None else ", or align them with python -m evaluate pack")
        raise InputError(f"{where}: {len(wrong)} of {len(names)} images are no {kind}: {listed(wrong)}; {advice}")
    return digest.hexdigest()


def listed(items: Sequence[str], limit: int = MAX_LISTED) -> str:
    """Items in one line, the first ``limit`` of them and the number of the others."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more
