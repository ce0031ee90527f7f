"""Test sets as Arrow tables: CVLface's ``facerec_val/NAME`` and the Hub's ``.parquet`` files.

CVLface's is a folder of ``data-*.arrow`` (Hugging Face ``datasets``, saved to disk) with columns image, index, is_same.
It has one row per image. Sorted by ``index`` the images are a0, b0, a1, b1, ...; both rows of a pair hold its label. A
``.parquet``, such as cat-claws/face-verification, has one row per pair: image1, image2, target. An image is the bytes
of an image file, or a struct with such ``bytes``. Legend: P pairs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from evaluate.layouts.labels import as_labels, check_counts

if TYPE_CHECKING:
    import pyarrow

_ROWS_PER_BATCH = 64
_MAX_RATIO, _MAX_SMALL = 20, 64 * 2**20
"""A table may unpack to this many times its size, or to this many bytes if that is more. Image files hardly shrink."""


def arrow_files(folder: Path) -> list[Path]:
    """The parts of a set in CVLface's layout; empty for any other folder."""
    return sorted(path for path in folder.glob("data-*.arrow") if path.is_file())


def read_table(path: Path) -> tuple[list[bytes], NDArray[np.bool_]]:
    """Read a ``.parquet``, or a folder in CVLface's layout.

    Returns:
        Image files in pair order, 2P of them, and ``is_genuine``, shape (P,).

    Raises:
        InputError: If a file is damaged, a column is missing, or the two rows of a pair have different labels.
    """
    columns = ("image", "index", "is_same") if path.is_dir() else ("image1", "image2", "target")
    try:
        first, second, labels = (_read_arrow if path.is_dir() else _read_parquet)(path, columns)
    except InputError:
        raise
    except Exception as error:  # pyarrow raises errors of many types for damaged files
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not a complete table ({reason}); fetch it again") from None
    is_genuine = as_labels(labels, path)
    if path.is_dir():
        order = _order(second, path)
        images, is_genuine = [_image_file(first[i], path) for i in order], is_genuine[order]
        if len(is_genuine) % 2 or not np.array_equal(is_genuine[0::2], is_genuine[1::2]):
            raise InputError(f"{path}: the rows of a pair have different labels; needs a0, b0, a1, b1, ... by index")
        is_genuine = is_genuine[0::2]
    else:
        images = [_image_file(image, path) for pair in zip(first, second, strict=True) for image in pair]
    check_counts(len(images), len(is_genuine), path)
    return images, is_genuine


def _read_arrow(path: Path, columns: Sequence[str]) -> list[list[Any]]:
    """The named columns of all parts of a folder."""
    import pyarrow

    parts = []
    for file in arrow_files(path):
        with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as stream:
            _check_columns(stream.schema.names, columns, path)
            parts += [_validated(batch.select(columns)) for batch in stream]
    return _as_lists(parts, columns)


def _read_parquet(path: Path, columns: Sequence[str]) -> list[list[Any]]:
    """The named columns of a file, read in small batches, so that a file of high ratio is refused before it unpacks."""
    import pyarrow.parquet

    max_bytes = max(_MAX_RATIO * path.stat().st_size, _MAX_SMALL)
    batches, num_bytes = [], 0
    with pyarrow.parquet.ParquetFile(path) as file:
        _check_columns(file.schema_arrow.names, columns, path)
        for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH, columns=list(columns), use_threads=False):
            num_bytes += batch.nbytes
            if num_bytes > max_bytes:
                raise InputError(f"{path} unpacks to far more bytes than images would; fetch it again")
            batches.append(_validated(batch.select(columns)))
    return _as_lists(batches, columns)


def _check_columns(names: Sequence[str], columns: Sequence[str], path: Path) -> None:
    if any(names.count(column) != 1 for column in columns):
        raise InputError(f"{path} has columns {list(names)}; needs {', '.join(columns)}; fetch another copy")


def _validated(batch: "pyarrow.RecordBatch") -> "pyarrow.RecordBatch":
    """The batch, after a check of its offsets: those of a damaged file point anywhere in memory."""
    batch.validate(full=True)
    return batch


def _as_lists(batches: Sequence["pyarrow.RecordBatch"], columns: Sequence[str]) -> list[list[Any]]:
    lists: list[list[Any]] = [[] for _ in columns]
    for batch in batches:
        for values, column in zip(lists, columns, strict=True):
            values += batch.column(column).to_pylist()
    return lists


def _order(index: Sequence[Any], path: Path) -> NDArray[np.int64]:
    """Positions of the rows in the order of their numbers."""
    if not all(type(number) is int for number in index) or len(set(index)) != len(index):
        raise InputError(f"{path}: column index does not number the rows; needs a0, b0, a1, b1, ... by index")
    return np.array(sorted(range(len(index)), key=index.__getitem__), dtype=np.int64)


def _image_file(image: Any, path: Path) -> bytes:
    encoded = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(encoded, bytes):
        raise InputError(f"{path} holds an image as {type(encoded).__name__}; needs the bytes of image files")
    return encoded
