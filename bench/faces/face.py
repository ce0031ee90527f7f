"""The interface of a face dataset in any layout (``Faces``), and image files decoded and encoded.

In: encoded image files. Out: identities numbered without gaps, and faces as uint8 RGB.
"""

import hashlib
import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.errors import InputError, python_command

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm"),
}
"""Suffixes of the image files that are read, in lower case; upper case counts too."""
FACE_SIZE = 112
ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where an aligned face has its five landmarks: x, y in pixels of the 112 x 112 image, shape (5, 2).

Order: the eye on the left of the image, the other eye, tip of the nose, left and right corner of the mouth.
"""
_MAGIC = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"GIF8": ".gif",
    b"P1": ".pbm",
    b"P4": ".pbm",
    b"P2": ".pgm",
    b"P5": ".pgm",
    b"P3": ".ppm",
    b"P6": ".ppm",
}
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
"""Formats that Pillow may open. Others are refused; some of its readers start other programs (EPS)."""
_MAX_PIXELS = 40_000_000
"""Images of more pixels are refused before they are decoded; decoding this many takes 400 MB."""
_PHOTOGRAPH_SIZE = (250, 250)
"""Size of LFW's photographs, which are often taken for aligned faces."""
_NUM_SIZES_CHECKED = 32
_NUM_SAMPLED = 16
_IDS_PER_BLOCK = 1 << 20
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that turns the image upright."""


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


def sample_sha256(faces: Faces) -> str:
    """SHA-256 of the identity of every face and of a few image files, by which two datasets can be told apart.

    It takes a second for 15 million faces and the memory of a block. Datasets that differ in other images alone have
    the same digest.
    """
    digest = hashlib.sha256()
    for start in range(0, len(faces), _IDS_PER_BLOCK):
        digest.update(faces.identity_ids[start : start + _IDS_PER_BLOCK].astype("<i8").tobytes())
    for index in np.linspace(0, len(faces) - 1, _NUM_SAMPLED).astype(int).tolist():
        try:
            digest.update(hashlib.sha256(faces.encoded(index)).digest())
        except InputError:  # a training may skip broken records
            digest.update(b"broken")
    return digest.hexdigest()


def aligned_image(faces: Faces, index: int) -> NDArray[np.uint8]:
    """One face as networks get it, uint8, shape (112, 112, 3), RGB; see ``to_face_size``.

    Raises:
        InputError: If the face does not decode or cannot be an aligned face (the message names it).
    """
    return to_face_size(faces.image(index), faces.name(index))


def to_face_size(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """An aligned face of 112 x 112 pixels, uint8, shape (112, 112, 3), RGB. All stages use this one rule.

    A face of 112 x 112 is returned as it is. Another square face is scaled (bicubic), as insightface's reader of
    ``.bin`` does. Any other face was cut by another template, so that scaling would distort it.

    Args:
        image: uint8, shape (H, W, 3), RGB.
        name: Source of the image, for the message of an error.

    Raises:
        InputError: If the image is not square, or has the size of LFW's photographs.
    """
    height, width = image.shape[:2]
    if problem := size_problem(width, height):
        raise InputError(f"{name} is {problem}; align faces to {FACE_SIZE} x {FACE_SIZE}")
    if height == FACE_SIZE:
        return image
    return np.asarray(Image.fromarray(image).resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BICUBIC))


def size_problem(width: int, height: int) -> str | None:
    """Why an image of this size cannot be an aligned face; None if it can."""
    if width != height:
        return f"{width} x {height} pixels, not square"
    if (width, height) == _PHOTOGRAPH_SIZE:
        return f"{width} x {height} pixels, the size of LFW's photographs, which are not aligned"
    return None


def check_sizes(faces: Faces) -> tuple[int, int] | None:
    """Look at the sizes of 32 evenly spaced faces, before hours of work with all of them.

    Returns:
        Width and height, pixels, of the first face that will be scaled to 112 x 112; None if there is none.

    Raises:
        InputError: If a face is not square, or has the size of LFW's photographs. Faces that do not decode are left to
            the work that reads them.
    """
    scaled = None
    for index in np.linspace(0, len(faces) - 1, min(_NUM_SIZES_CHECKED, len(faces))).astype(int):
        try:
            size = image_size(faces.encoded(int(index)))
        except InputError:
            continue
        if problem := size_problem(*size):
            raise InputError(
                f"{faces.name(int(index))} is {problem}; align faces to {FACE_SIZE} x {FACE_SIZE}, those of a folder "
                f"with {python_command('bench convert FOLDER OUT --align LANDMARKS')}"
            )
        if scaled is None and size != (FACE_SIZE, FACE_SIZE):
            scaled = size
    return scaled


class SelectedFaces(ABC):
    """Base of the readers of all layouts: selects faces and numbers their identities without gaps.

    ``_positions`` holds, for each face of the selection, its position in the file.
    """

    has_names = False
    """Whether ``identity_names`` name people; in most layouts they are numbers, which say nothing across files."""

    path: Path
    identity_ids: NDArray[np.int64]
    identity_names: list[str]
    _positions: NDArray[np.int64]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Position of each face in the file or folder, before any selection, shape (N,)."""
        return self._positions

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
    """Decode an image file to uint8, shape (H, W, 3), RGB, upright as its EXIF orientation says.

    Grey images of 16 bits are scaled to 8. Transparency is dropped. Of several frames the first is read.

    Args:
        encoded: Bytes of the image file.
        name: Source of the image, for the message of an error.

    Raises:
        InputError: If the bytes are not a complete image of a known format, or hold more than 40 million pixels.
    """
    try:
        return np.asarray(_to_rgb(_upright(_open_image(encoded))))
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise _decode_error(encoded, name, error) from None


def image_size(encoded: bytes, name: str = "image") -> tuple[int, int]:
    """Width and height of an image file in pixels, as ``decode_image`` would return it. Only its header is read.

    Raises:
        InputError: If the header is not one of a known format, or announces more than 40 million pixels.
    """
    try:
        image = _open_image(encoded)
        if image.format != "TIFF" and _orientation(image) > 4:  # Pillow gives the upright size of TIFF
            return image.size[1], image.size[0]
        return image.size
    except Exception as error:  # as in decode_image
        raise _decode_error(encoded, name, error) from None


def _open_image(encoded: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    if image.width * image.height > _MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {_MAX_PIXELS}")
    return image


def _decode_error(encoded: bytes, name: str, error: Exception) -> InputError:
    start = encoded[:4].hex() or "nothing"
    reason = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = f"none of {', '.join(_FORMATS)}"
    return InputError(
        f"{name} does not decode ({len(encoded)} bytes starting {start}: {reason}); replace it or mask it out"
    )


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # a TIFF is turned by Pillow itself while it loads
    orientation = _orientation(image)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1, upright, where there is none."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF says nothing; the pixels can still be read
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB. Pillow alone would cut 16-bit values off at 255, which makes faces white."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError("pixels of 32 bits have no known white; save it with 8 bits")
    if image.mode.startswith("I"):
        sixteen_bit = np.asarray(image).astype(np.float32)
        image = Image.fromarray(np.round(sixteen_bit / 257).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def encode_jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode an image, uint8, shape (H, W, 3), RGB, as JPEG.

    Colours are stored at full resolution (no chroma subsampling), which matters for images as small as faces.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, uint8, shape (H, W, 3), RGB, as PNG, which loses nothing."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def image_suffix(encoded: bytes, name: str) -> str:
    """Suffix for an image file, from its first bytes, such as ``.jpg``.

    Args:
        encoded: Bytes of the image file.
        name: Source of the image, for the message of an error.

    Raises:
        InputError: If the bytes start like none of these formats.
    """
    for magic, suffix in _MAGIC.items():
        if encoded.startswith(magic):
            return suffix
    start = encoded[:4].hex() or "nothing"
    raise InputError(f"{name} is not an image file ({len(encoded)} bytes starting {start}); replace it or mask it out")
