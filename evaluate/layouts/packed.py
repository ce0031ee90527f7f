"""Packed test sets, read and written: ``.bin`` (insightface), ``.xz`` and ``NAME/NAME.npy`` (SOTA).

A ``.bin`` is one pickle of ``(image files, is_genuine)``; an ``.xz`` is the same pickle, compressed. SOTA stands for
the official trainer, HaiyuWu/SOTA-Face-Recognition-Train-and-Test. Loading a pickle can run any code. The reader
therefore allows only a fixed list of functions, those that rebuild bytes and NumPy arrays, and limits what they build.
Legend: P pairs.
"""

import lzma
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE
from bench.files import atomic_path, read_array, read_text
from evaluate.layouts.labels import as_labels, check_counts

_XZ_MAGIC = bytes.fromhex("fd377a585a00")
FETCH_AGAIN = "fetch or pack it again"
"""What the user can do about a damaged test set."""


_MAX_RATIO, _MAX_SMALL = 20, 64 * 2**20
"""An .xz may unpack to this many times its size, or to this many bytes if that is more. Image files hardly shrink."""
_NDARRAY = object()
"""Stands in for the class ``numpy.ndarray``, which a pickle names but must not call: it would take any shape."""
_MAX_SCALAR_BYTES = 16


def _new_array(kind: object, shape: object, type_code: object) -> NDArray:
    """Stands in for NumPy's ``_reconstruct``: an empty array, which takes shape and content from the pickle."""
    if kind is not _NDARRAY or shape != (0,):
        raise InputError("builds an array in a way that NumPy does not")
    # NumPy 2.0 moved this function: take what NumPy itself would pickle.
    reconstruct: Any = np.zeros(1).__reduce__()[0]
    return reconstruct(np.ndarray, (0,), b"b")


def _new_scalar(dtype: np.dtype, content: Any = None) -> Any:
    """Stands in for NumPy's ``scalar``: a label. Larger values could be repeated until the memory is full."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or dtype.itemsize > _MAX_SCALAR_BYTES:
        raise InputError(f"holds a value of type {dtype}, which is no label")
    scalar: Any = np.uint8(0).__reduce__()[0]  # type: ignore[misc]
    return scalar(dtype, content)


class _SafeUnpickler(pickle._Unpickler):
    """Refuses every name outside its list before it is looked up, so nothing of it runs.

    It is Python's own unpickler in Python: the one in C takes gigabytes for a memo number that a damaged file states.

    Args:
        file: The pickle.
        max_bytes: Limit of the bytes that are built from texts.
    """

    def __init__(self, file: Any, *, max_bytes: int) -> None:
        super().__init__(file, encoding="bytes")
        self._bytes_left = max_bytes
        self._allowed: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): self._encode_latin1,
        }
        for core in ("numpy.core", "numpy._core"):
            self._allowed[f"{core}.multiarray", "_reconstruct"] = _new_array
            self._allowed[f"{core}.multiarray", "scalar"] = _new_scalar
            self._allowed[f"{core}.numeric", "_frombuffer"] = np.zeros(1).__reduce_ex__(5)[0]  # pickle protocol 5

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise InputError(f"holds {module}.{name}, which a test set does not need and which may run code")
        return self._allowed[module, name]

    def _encode_latin1(self, text: str, encoding: str) -> bytes:
        """Stands in for ``_codecs.encode``, which pickle protocol 2 calls to rebuild bytes; it needs latin1 only."""
        if encoding not in ("latin1", "latin-1"):
            raise InputError(f"asks for codec {encoding!r}; only latin1 is allowed")
        self._bytes_left -= len(text)
        if self._bytes_left < 0:
            raise InputError("builds more bytes than it holds")
        return text.encode("latin1")


class LimitedFile:
    """A file of which at most ``max_bytes`` can be read.

    One read returns no more than is left, so that a pickle cannot ask for memory that its file does not fill.
    """

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file, self._left = file, max_bytes

    def read(self, size: int = -1) -> bytes:
        """As ``read`` of a file; raises an InputError beyond the limit."""
        data = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        return self._counted(data)

    def readline(self) -> bytes:
        """As ``readline`` of a file; raises an InputError beyond the limit."""
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise InputError("unpacks to far more bytes than images would")
        return data


def read_bin(path: Path) -> tuple[list[bytes], NDArray[np.bool_]]:
    """Read a ``.bin`` or ``.xz``, distinguished by content rather than by suffix.

    Returns:
        Image files in pair order, 2P of them, and ``is_genuine``, shape (P,).

    Raises:
        InputError: If it is no such pickle, names a function outside the allowed list (nothing of it is run), or images
            and labels disagree in number.
    """
    with path.open("rb") as raw:
        is_xz = raw.read(len(_XZ_MAGIC)) == _XZ_MAGIC
    size = path.stat().st_size
    max_bytes = max(_MAX_RATIO * size, _MAX_SMALL) if is_xz else size
    with lzma.open(path) if is_xz else path.open("rb") as file:
        content = _unpickle(LimitedFile(file, max_bytes), path, max_bytes)
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise InputError(f"{path} holds a {type(content).__name__}, not (images, labels); {FETCH_AGAIN}")
    images, labels = content
    if not isinstance(images, list | tuple) or not isinstance(labels, list | tuple | np.ndarray):
        got = f"{type(images).__name__} and {type(labels).__name__}"
        raise InputError(f"{path} holds {got}, not a list of images and a list of labels; {FETCH_AGAIN}")
    is_genuine = as_labels(labels, path)
    check_counts(len(images), len(is_genuine), path)
    return [_image_bytes(image, f"{path} image {i}") for i, image in enumerate(images)], is_genuine


def read_npy(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read ``NAME/NAME.npy`` and ``NAME/issame.txt``.

    Returns:
        Memory-mapped images, uint8, shape (2P, 3, 112, 112), RGB, and ``is_genuine``, shape (P,).

    Raises:
        InputError: If a file is missing or cut short, shape or type are wrong, or images and labels disagree in number.
    """
    path = folder / f"{folder.name}.npy"
    labels_path = folder / "issame.txt"
    if not labels_path.exists():
        raise InputError(f"{labels_path} does not exist; needs one line, 0 or 1, per pair of {path.name}")
    images = read_array(path, is_mapped=True, fix=FETCH_AGAIN)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, FACE_SIZE, FACE_SIZE):
        raise InputError(
            f"{path} is {images.dtype} of shape {images.shape}; needs uint8 (2 * num_pairs, 3, {FACE_SIZE}, "
            f"{FACE_SIZE}), RGB; {FETCH_AGAIN}"
        )
    is_genuine = as_labels(read_text(labels_path).split(), labels_path)
    check_counts(len(images), len(is_genuine), path)
    return images, is_genuine


def write_bin(path: str | Path, images: Sequence[bytes], is_genuine: Sequence[bool] | NDArray) -> None:
    """Write an insightface ``.bin``, compressed if the name ends in ``.xz``, atomically.

    Args:
        path: The file to write.
        images: Image files in pair order, 2P of them.
        is_genuine: True where both faces are of one identity, P of them.
    """
    check_counts(len(images), len(is_genuine), Path(path))
    content = (list(images), [bool(label) for label in is_genuine])
    opener = lzma.open if Path(path).suffix == ".xz" else open
    with atomic_path(path) as temporary, opener(temporary, "wb") as file:
        pickle.dump(content, file, protocol=4)


def write_npy(folder: str | Path, images: Iterable[NDArray[np.uint8]], is_genuine: NDArray[np.bool_]) -> None:
    """Write ``NAME/NAME.npy`` and ``NAME/issame.txt``, atomically.

    Args:
        folder: The folder to write; its name becomes the name of the set.
        images: Faces in pair order, 2P of them, each uint8 (112, 112, 3) RGB.
        is_genuine: True where both faces are of one identity, shape (P,).
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        shape = (2 * len(is_genuine), 3, FACE_SIZE, FACE_SIZE)
        array = np.lib.format.open_memmap(temporary / f"{Path(folder).name}.npy", "w+", np.uint8, shape, version=(1, 0))
        num_images = 0
        for image in images:
            array[num_images] = image.transpose(2, 0, 1)
            num_images += 1
        check_counts(num_images, len(is_genuine), Path(folder))
        array.flush()
        (temporary / "issame.txt").write_text("".join(f"{int(label)}\n" for label in is_genuine))


def _unpickle(file: LimitedFile, path: Path, max_bytes: int) -> Any:
    try:
        return _SafeUnpickler(file, max_bytes=max_bytes).load()
    except InputError as error:
        raise InputError(f"{path} {error}; do not load it elsewhere, {FETCH_AGAIN}") from None
    except Exception as error:  # a broken pickle can raise nearly anything
        raise InputError(
            f"{path} is not a complete verification pickle ({type(error).__name__}: {str(error)[:200]}); {FETCH_AGAIN}"
        ) from None


def _image_bytes(image: Any, name: str) -> bytes:
    """The file of an image, which sets store as bytes or as a uint8 vector."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size == max(image.shape, default=0):
        return image.tobytes()
    kind = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(f"{name} is a {kind}; must be an image file as bytes or as a uint8 vector; {FETCH_AGAIN}")
