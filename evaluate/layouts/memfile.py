"""AdaFace's test sets: ``NAME/memfile/mem_file.dat``, with ``NAME_list.npy`` beside the folder NAME.

The data are raw floats (2P, 3, 112, 112), BGR, in [-1, 1]. ``mem_file.dat.conf`` is JSON with their shape and type.
AdaFace's code writes this layout when it opens one of evoLVe's bcolz sets. Legend: P pairs.
"""

import math
import reprlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE
from bench.files import read_array, read_json
from evaluate.layouts.labels import as_labels, check_counts
from evaluate.layouts.packed import FETCH_AGAIN

_TYPES = ("float16", "float32", "float64")


def memfile_paths(folder: Path) -> tuple[Path, Path, Path]:
    """Files of the set in ``folder``: images, their shape and type, labels."""
    data = folder / "memfile" / "mem_file.dat"
    return data, data.with_name("mem_file.dat.conf"), folder.with_name(f"{folder.name}_list.npy")


def read_memfile(folder: Path) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Read a set.

    Returns:
        Images as stored, memory-mapped, shape (2P, 3, 112, 112), and ``is_genuine``, shape (P,).

    Raises:
        InputError: If a file is missing or cut short, shape or type are wrong, or images and labels disagree in number.
    """
    data, shape_path, labels_path = memfile_paths(folder)
    missing = [path for path in (data, shape_path, labels_path) if not path.exists()]
    if missing:
        raise InputError(f"{missing[0]} does not exist; copy the set again, with NAME_list.npy beside its folder")
    shape, dtype = _read_shape(shape_path, data)
    needed_bytes = math.prod(shape) * dtype.itemsize
    if data.stat().st_size != needed_bytes or not needed_bytes:
        raise InputError(
            f"{folder} is not a complete memfile set ({data.name} has {data.stat().st_size} bytes, its shape {shape} "
            f"needs {needed_bytes}); copy it again"
        )
    is_genuine = as_labels(read_array(labels_path, is_mapped=True, fix=FETCH_AGAIN), labels_path)
    check_counts(shape[0], len(is_genuine), data)
    return np.memmap(data, mode="r", dtype=dtype, shape=shape), is_genuine


def _read_shape(path: Path, data: Path) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the images, as ``mem_file.dat.conf`` states them."""
    header = read_json(path)
    header = header if isinstance(header, dict) else {}
    shape, name = header.get("shape"), header.get("dtype")
    sizes = tuple(shape) if isinstance(shape, list) else ()
    has_sizes = all(type(size) is int and 0 <= size < 2**40 for size in sizes)
    if not has_sizes or sizes[1:] != (3, FACE_SIZE, FACE_SIZE) or name not in _TYPES:
        needed = f"floats (2 * num_pairs, 3, {FACE_SIZE}, {FACE_SIZE})"
        shown = f"{reprlib.repr(name)} of shape {reprlib.repr(shape)}"
        raise InputError(f"{data} is {shown}; needs {needed}; copy another set")
    return sizes, np.dtype(name)


def to_face(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """One stored image, shape (3, 112, 112), BGR in [-1, 1], as uint8, shape (112, 112, 3), RGB.

    Raises:
        InputError: If a value is not a number.
    """
    if np.isnan(image).any():
        raise InputError("an image of the memfile holds values that are not numbers; copy the set again")
    return np.rint((image[::-1].transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)
