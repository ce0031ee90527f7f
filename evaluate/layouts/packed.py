"""Packed verification sets, read and written: ``.bin`` (insightface), ``.xz`` and ``NAME/NAME.npy`` (SOTA).

A ``.bin`` is one pickle of ``(image files, is_genuine)``; an ``.xz`` is the same pickle, compressed. SOTA stands for
the official trainer, HaiyuWu/SOTA-Face-Recognition-Train-and-Test. Loading a pickle can run any code. The reader
therefore allows only a fixed list of functions, those that rebuild bytes and NumPy arrays. Legend: P pairs.
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
from bench.files import atomic_path
from evaluate.layouts.labels import as_labels, check_counts

_XZ_MAGIC = bytes.fromhex("fd377a585a00")
_FETCH_AGAIN = "fetch or pack it again"


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, which pickle protocol 2 calls to rebuild bytes; it needs latin1 only."""
    if encoding not in ("latin1", "latin-1"):
        raise InputError(f"asks for codec {encoding!r}; only latin1 is allowed")
    return text.encode("latin1")


def _allowed() -> dict[tuple[str, str], Any]:
    """The allowed functions and classes, by module and name as a pickle writes them.

    NumPy 2.0 moved these functions to another module, so they are taken from what NumPy itself would pickle.
    """
    reconstruct = np.zeros(1).__reduce__()[0]
    scalar = np.uint8(0).__reduce__()[0]  # type: ignore[misc]
    from_buffer = np.zeros(1).__reduce_ex__(5)[0]  # arrays under pickle protocol 5
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode_latin1,
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = reconstruct
        table[f"{core}.multiarray", "scalar"] = scalar
        table[f"{core}.numeric", "_frombuffer"] = from_buffer
    return table


class _SafeUnpickler(pickle.Unpickler):
    """Refuses every name outside the list before it is looked up, so nothing of it runs."""

    allowed = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise InputError(f"holds {module}.{name}, which a verification set does not need and which may run code")
        return self.allowed[module, name]


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
    with lzma.open(path) if is_xz else path.open("rb") as file:
        content = _unpickle(file, path)
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise InputError(f"{path} holds a {type(content).__name__}, not (images, labels); {_FETCH_AGAIN}")
    images, labels = content
    if not isinstance(images, list | tuple) or not isinstance(labels, list | tuple | np.ndarray):
        got = f"{type(images).__name__} and {type(labels).__name__}"
        raise InputError(f"{path} holds {got}, not a list of images and a list of labels; {_FETCH_AGAIN}")
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
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a complete .npy ({error}); {_FETCH_AGAIN}") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, FACE_SIZE, FACE_SIZE):
        raise InputError(
            f"{path} is {images.dtype} of shape {images.shape}; needs uint8 (2 * num_pairs, 3, {FACE_SIZE}, "
            f"{FACE_SIZE}), RGB; {_FETCH_AGAIN}"
        )
    is_genuine = as_labels(labels_path.read_text().split(), labels_path)
    check_counts(len(images), len(is_genuine), path)
    return images, is_genuine


def write_bin(path: str | Path, images: Sequence[bytes], is_genuine: Sequence[bool] | NDArray) -> None:
    """Write an insightface ``.bin``, compressed if the name ends in ``.xz``; the file appears whole.

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
    """Write ``NAME/NAME.npy`` and ``NAME/issame.txt``; the folder appears whole.

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


def _unpickle(file: IO[bytes], path: Path) -> Any:
    try:
        return _SafeUnpickler(file, encoding="bytes").load()
    except InputError as error:
        raise InputError(f"{path} {error}; do not load it elsewhere, {_FETCH_AGAIN}") from None
    except Exception as error:  # a broken pickle can raise nearly anything
        raise InputError(
            f"{path} is not a complete verification pickle ({type(error).__name__}: {error}); {_FETCH_AGAIN}"
        ) from None


def _image_bytes(image: Any, name: str) -> bytes:
    """The file of an image, which sets store as bytes or as a uint8 vector."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size == max(image.shape, default=0):
        return image.tobytes()
    kind = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(f"{name} is a {kind}; must be an image file as bytes or as a uint8 vector; {_FETCH_AGAIN}")
