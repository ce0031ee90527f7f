"""The interface of a face dataset in any layout (``Faces``), and image files decoded and encoded.

In: encoded image files. Out: identities numbered without gaps, and faces as uint8 RGB.
"""

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.errors import InputError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
FACE_SIZE = 112
ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where an aligned face has its five landmarks: x, y in pixels of the 112 x 112 image, shape (5, 2).

Order: the eye on the left of the image, the other eye, tip of the nose, left and right corner of the mouth.
"""
_MAGIC = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"RIFF": ".webp"}


class Faces(Protocol):
    """A face dataset of N image files, each with an identity. ``bench.faces.open.open_faces`` opens one.

    Faces are counted by ``index``, 0 .. N - 1, after a mask and names to leave out are applied. Image files are read
    and decoded on each call; nothing is cached. A dataset can be pickled into worker processes, and survives a fork.
    """

    path: Path
    """The file or folder that was opened."""
    identity_ids: NDArray[np.int64]
    """Identity of each face, shape (N,), numbered 0 .. num_identities - 1 without gaps."""
    identity_names: list[str]
    """Name of each identity in the source (name of its folder, or its number), shape (num_identities,)."""

    @property
    def num_identities(self) -> int:
        """Number of identities; each has at least one face."""
        ...

    def __len__(self) -> int:
        """Number of faces, N."""
        ...

    def encoded(self, index: int) -> bytes:
        """The image file (JPEG, PNG, ...) of one face, as it is stored.

        Raises:
            InputError: If the record is missing or broken.
        """
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """One decoded face, uint8, shape (H, W, 3), RGB.

        Raises:
            InputError: If the record is missing or broken, or the image does not decode.
        """
        ...

    def name(self, index: int) -> str:
        """Source of one face for messages: its path, or the file and the key in it."""
        ...


def aligned_image(faces: Faces, index: int) -> NDArray[np.uint8]:
    """One face that must be 112 x 112, uint8, shape (112, 112, 3), RGB.

    Raises:
        InputError: If the face does not decode or has another size (the message names it).
    """
    image = faces.image(index)
    if image.shape != (FACE_SIZE, FACE_SIZE, 3):
        raise InputError(
            f"{faces.name(index)} is {image.shape[1]} x {image.shape[0]} pixels; align faces to "
            f"{FACE_SIZE} x {FACE_SIZE} first"
        )
    return image


class SelectedFaces(ABC):
    """Base of the readers of all layouts: selects faces and numbers their identities without gaps.

    ``_positions`` holds, for each face of the selection, its position in the file.
    """

    path: Path
    identity_ids: NDArray[np.int64]
    identity_names: list[str]
    _positions: NDArray[np.int64]

    def _set_labels(self, labels: NDArray[np.int64]) -> None:
        """Select all faces; ``labels``, shape (N,), are their identities in the source, which may have gaps."""
        numbers, self.identity_ids = np.unique(labels, return_inverse=True)
        self.identity_names = [str(number) for number in numbers]
        self._positions = np.arange(len(labels))

    def select(self, positions: NDArray[np.int64]) -> None:
        """Keep only the faces at these indices, in this order, and number their identities without gaps."""
        remaining, self.identity_ids = np.unique(self.identity_ids[positions], return_inverse=True)
        self.identity_names = [self.identity_names[label] for label in remaining]
        self._positions = self._positions[positions]

    @property
    def num_identities(self) -> int:
        """Number of identities; each has at least one face."""
        return len(self.identity_names)

    def __len__(self) -> int:
        return len(self._positions)

    def image(self, index: int) -> NDArray[np.uint8]:
        """One decoded face, uint8, shape (H, W, 3), RGB.

        Raises:
            InputError: If the record is missing or broken, or the image does not decode.
        """
        return decode_image(self.encoded(index), self.name(index))

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """The image file of one face."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Source of one face for messages: its path, or the file and the key in it."""


def decode_image(encoded: bytes, name: str = "image") -> NDArray[np.uint8]:
    """Decode an image file to uint8, shape (H, W, 3), RGB.

    Args:
        encoded: Bytes of the image file.
        name: Source of the image, for the message of an error.

    Raises:
        InputError: If the bytes are not a complete image.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        head = encoded[:4].hex()
        raise InputError(
            f"{name} does not decode ({len(encoded)} bytes starting {head}: {error}); replace it or mask it out"
        ) from None


def encode_jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode an image, uint8, shape (H, W, 3), RGB, as JPEG.

    Colours are stored at full resolution (no chroma subsampling), which matters for images as small as faces.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def image_suffix(encoded: bytes, name: str) -> str:
    """Suffix for an image file, from its first bytes: ``.jpg``, ``.png``, ``.bmp`` or ``.webp``.

    Args:
        encoded: Bytes of the image file.
        name: Source of the image, for the message of an error.

    Raises:
        InputError: If the bytes start like none of these formats.
    """
    for magic, suffix in _MAGIC.items():
        if encoded.startswith(magic):
            return suffix
    head = encoded[:4].hex() or "nothing"
    raise InputError(f"{name} is not an image file ({len(encoded)} bytes starting {head}); replace it or mask it out")
