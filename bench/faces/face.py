"""What every face dataset offers, whatever its layout on disk; and image files to and from pixels.

In: image files as they lie on disk. Out: identities numbered without gaps, and faces as uint8 RGB.
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
    """A face dataset: N encoded images, each with an identity."""

    path: Path
    identity_ids: NDArray[np.int64]
    """Identity per face, shape (N,), relabelled to 0 .. num_identities - 1 without gaps."""
    identity_names: list[str]
    """What the source calls each identity, in the order of ``identity_ids``."""

    @property
    def num_identities(self) -> int:
        """Number of different identities."""
        ...

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> bytes:
        """The image file (JPEG, PNG, ...) of one face."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """One face, uint8, shape (H, W, 3), RGB."""
        ...

    def name(self, index: int) -> str:
        """Where one face lies, file and key, for messages."""
        ...


def aligned_image(faces: Faces, index: int) -> NDArray[np.uint8]:
    """One face, uint8, shape (112, 112, 3), RGB.

    Raises:
        InputError: If it does not decode or has another size (names it).
    """
    image = faces.image(index)
    if image.shape != (FACE_SIZE, FACE_SIZE, 3):
        raise InputError(
            f"{faces.name(index)} is {image.shape[1]} x {image.shape[0]} pixels; align faces to "
            f"{FACE_SIZE} x {FACE_SIZE} first"
        )
    return image


class SelectedFaces(ABC):
    """What all layouts share: a selection of positions, and gap-free labels."""

    path: Path
    identity_ids: NDArray[np.int64]
    identity_names: list[str]
    _positions: NDArray[np.int64]

    def _set_labels(self, labels: NDArray[np.int64]) -> None:
        """Take all faces, whose identities the source numbers ``labels``, shape (N,), with or without gaps."""
        numbers, self.identity_ids = np.unique(labels, return_inverse=True)
        self.identity_names = [str(number) for number in numbers]
        self._positions = np.arange(len(labels))

    def select(self, positions: NDArray[np.int64]) -> None:
        """Keep only these faces, in this order, and relabel so that no identity is empty."""
        kept, self.identity_ids = np.unique(self.identity_ids[positions], return_inverse=True)
        self.identity_names = [self.identity_names[label] for label in kept]
        self._positions = self._positions[positions]

    @property
    def num_identities(self) -> int:
        """Number of different identities."""
        return len(self.identity_names)

    def __len__(self) -> int:
        return len(self._positions)

    def image(self, index: int) -> NDArray[np.uint8]:
        """One face, uint8, shape (H, W, 3), RGB."""
        return decode_image(self.encoded(index), self.name(index))

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """The image file of one face."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Where one face lies, for messages."""


def decode_image(encoded: bytes, name: str = "image") -> NDArray[np.uint8]:
    """Decode an image file to uint8 (H, W, 3) RGB.

    Raises:
        InputError: If the bytes are not a whole image; ``name`` says which.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        head = encoded[:4].hex()
        raise InputError(
            f"{name} does not decode ({len(encoded)} bytes starting {head}: {error}); replace it or mask it out"
        ) from None


def encode_jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode uint8 (H, W, 3) RGB as JPEG without chroma subsampling, so that small faces keep their colours."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def image_suffix(encoded: bytes, name: str) -> str:
    """The file suffix that fits an image file, from its first bytes: ``.jpg``, ``.png``, ``.bmp`` or ``.webp``.

    Raises:
        InputError: If the bytes start as none of these; ``name`` says which.
    """
    for magic, suffix in _MAGIC.items():
        if encoded.startswith(magic):
            return suffix
    start = encoded[:4].hex() or "nothing"
    raise InputError(f"{name} is no image ({len(encoded)} bytes starting {start}); replace it or mask it out")
