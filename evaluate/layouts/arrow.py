"""Verification sets as Arrow tables: CVLface's ``facerec_val/NAME`` and the Hub's ``.parquet`` files.

CVLface's is a folder of ``data-*.arrow`` (Hugging Face ``datasets``, saved to disk) with columns image, index, is_same.
It has one row per image. Sorted by ``index`` the images are a0, b0, a1, b1, ...; both rows of a pair hold its label. A
``.parquet``, such as cat-claws/face-verification, has one row per pair: image1, image2, target. An image is the bytes
of an image file, or a struct with such ``bytes``. Legend: P pairs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from evaluate.layouts.labels import as_labels, check_counts

if TYPE_CHECKING:
    import pyarrow


def arrow_files(folder: Path) -> list[Path]:
    """The parts of a set in CVLface's layout; empty for any other folder."""
    return sorted(folder.glob("data-*.arrow"))


def read_table(path: Path) -> tuple[list[bytes], NDArray[np.bool_]]:
    """Read a ``.parquet``, or a folder in CVLface's layout.

    Returns:
        Image files in pair order, 2P of them, and ``is_genuine``, shape (P,).

    Raises:
        InputError: If a file is damaged, a column is missing, or the two rows of a pair have different labels.
    """
    table = _read(path)
    columns = ("image", "index", "is_same") if path.is_dir() else ("image1", "image2", "target")
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise InputError(f"{path} has columns {table.column_names}; needs {', '.join(columns)}; fetch another copy")
    if path.is_dir():
        table = table.take(np.argsort(table["index"].to_numpy(), kind="stable"))
        images = [_image_file(image, path) for image in table["image"].to_pylist()]
        labels = as_labels(table["is_same"].to_pylist(), path)
        if len(labels) % 2 or not np.array_equal(labels[0::2], labels[1::2]):
            raise InputError(f"{path}: the rows of a pair have different labels; needs a0, b0, a1, b1, ... by index")
        is_genuine = labels[0::2]
    else:
        pairs = zip(table["image1"].to_pylist(), table["image2"].to_pylist(), strict=True)
        images = [_image_file(image, path) for pair in pairs for image in pair]
        is_genuine = as_labels(table["target"].to_pylist(), path)
    check_counts(len(images), len(is_genuine), path)
    return images, is_genuine


def _read(path: Path) -> "pyarrow.Table":
    import pyarrow
    import pyarrow.parquet

    try:
        if path.is_dir():
            parts = [pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all() for file in arrow_files(path)]
            return pyarrow.concat_tables(parts)
        return pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not a complete table ({reason}); fetch it again") from None


def _image_file(image: Any, path: Path) -> bytes:
    encoded = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(encoded, bytes):
        raise InputError(f"{path} holds an image as {type(encoded).__name__}; needs the bytes of image files")
    return encoded
