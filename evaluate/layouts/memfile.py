"""AdaFace's verification sets: ``NAME/memfile/mem_file.dat``, with ``NAME_list.npy`` beside the folder NAME.

The data are raw floats (2P, 3, 112, 112), BGR, in [-1, 1]. ``mem_file.dat.conf`` is JSON with their shape and type.
AdaFace's code writes this layout when it opens one of evoLVe's bcolz sets. Legend: P pairs.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE
from bench.files import read_json
from evaluate.layouts.labels import as_labels, check_counts


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
    header = read_json(shape_path)
    try:
        shape, dtype = tuple(header["shape"]), np.dtype(header["dtype"])
        labels = np.load(labels_path, allow_pickle=False)
        images = np.memmap(data, mode="r", dtype=dtype, shape=shape)
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{folder} is not a complete memfile set ({error}); copy it again") from None
    if dtype.kind != "f" or shape[1:] != (3, FACE_SIZE, FACE_SIZE):
        needed = f"floats (2 * num_pairs, 3, {FACE_SIZE}, {FACE_SIZE})"
        raise InputError(f"{data} is {dtype} of shape {shape}; needs {needed}; copy another set")
    is_genuine = as_labels(labels.tolist(), labels_path)
    check_counts(len(images), len(is_genuine), data)
    return images, is_genuine


def to_face(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """One stored image, shape (3, 112, 112), BGR in [-1, 1], as uint8, shape (112, 112, 3), RGB."""
    return np.rint((image[::-1].transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)
