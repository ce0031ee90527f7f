"""Shards: files that hold whole identities; ``qualify/join.py`` joins them into one dataset.

A shard of images is a Parquet file with one row per image: its record (identity, how it was made, measured values) and
the encoded image. A shard of centres is an ``.npz``. A shard that was cut short is recognised and made again.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import atomic_path, read_array
from bench.runs.card_parts.statistics import DatasetStatistics
from generate.draw.qualify.filters import KEPT

RECORD = pa.schema(
    [
        ("identity_id", pa.int64()),
        ("candidate", pa.int64()),
        ("image", pa.int32()),
        ("sigma", pa.float32()),
        ("target_yaw", pa.float32()),
        ("turned_yaw", pa.float32()),
        ("steps", pa.int32()),
        ("identity_cosine", pa.float32()),
        ("quality", pa.float32()),
        ("yaw", pa.float32()),
        ("known_cosine", pa.float32()),
        ("accepted", pa.bool_()),
    ]
)
"""Columns of faces.parquet; row i belongs to record i of the LMDB. NaN: no target, or not measured."""
POSE_RECORD = pa.schema(
    [("picture", pa.int32()), ("landmark_yaw", pa.float32()), ("landmark_pitch", pa.float32())],
)
"""Further columns where some images have a landmark picture: its number (-1: none) and its angles in degrees."""


def record_schema(names: Iterable[str]) -> pa.Schema:
    """Columns of faces.parquet, with those of ``POSE_RECORD`` if the names have them."""
    return pa.unify_schemas([RECORD, POSE_RECORD]) if set(POSE_RECORD.names) <= set(names) else RECORD


def _shard_schema(names: Iterable[str]) -> pa.Schema:
    """Columns of a shard of images: those of faces.parquet, why an image is dropped, and the image file."""
    return record_schema(names).append(pa.field("dropped", pa.string())).append(pa.field("encoded", pa.binary()))


@dataclass(frozen=True)
class DrawnFaces:
    """A dataset as it was drawn: counts after filtering, and statistics."""

    num_images: int
    num_identities: int
    statistics: DatasetStatistics


def write_images(path: Path, records: Mapping[str, Any], dropped: Sequence[str], encoded: Sequence[bytes]) -> None:
    """Write a shard of images; of a dropped image only the record and the reason are stored.

    Args:
        path: File to write.
        records: Columns of ``RECORD``, or also those of ``POSE_RECORD``.
        dropped: Reason per image, see ``filters.drop_reasons``.
        encoded: Image file per image.
    """
    files = [content if reason == KEPT else b"" for content, reason in zip(encoded, dropped, strict=True)]
    table = pa.table({**records, "dropped": list(dropped), "encoded": files}, schema=_shard_schema(records))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="none", use_dictionary=False, write_page_checksum=True)


def has_images(path: Path) -> bool:
    """Whether a shard of images exists and is not cut short."""
    try:
        schema = pq.read_schema(path)
        return schema.equals(_shard_schema(schema.names))
    except (OSError, pa.ArrowException):
        return False


def write_arrays(path: Path, **arrays: NDArray) -> None:
    """Write a shard of centres; the file appears whole."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def has_arrays(path: Path) -> bool:
    """Whether a shard of centres exists and is not damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def read_part(path: Path) -> NDArray:
    """An array beside the shards, memory-mapped: candidates, kept identities or their vectors.

    Raises:
        InputError: If the file is damaged.
    """
    return read_array(path, is_mapped=True, fix=f"delete {path.parent}, and run the same command again")


def gather(paths: Sequence[Path], name: str) -> NDArray:
    """One array of all shards of centres, joined along the rows; needs no more memory than the result."""
    counts = [len(np.load(path)["steps"]) for path in paths]
    ends = np.cumsum(counts)
    first = np.load(paths[0])[name]
    joined = np.empty((ends[-1], *first.shape[1:]), first.dtype)
    for path, end, count in zip(paths, ends, counts, strict=True):
        joined[end - count : end] = np.load(path)[name]
    return joined


def read_images(shard: Path) -> pa.Table:
    """The rows of a shard of images.

    Raises:
        InputError: If it was damaged after it was written; it is then deleted, so that the next run makes it again.
    """
    try:
        return pq.read_table(shard, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        shard.unlink(missing_ok=True)
        raise InputError(
            f"{shard} was damaged ({error}) and is now deleted; run the same command again to make a new one"
        ) from None


def identities_of(path: Path) -> set[int]:
    """Numbers of the identities in a shard of images."""
    return set(pq.read_table(path, columns=["identity_id"])["identity_id"].to_pylist())


def filled_identities(path: Path) -> set[int]:
    """Numbers of the identities in a shard of images that have an image which is kept."""
    table = pq.read_table(path, columns=["identity_id", "dropped"]).to_pydict()
    return {number for number, reason in zip(table["identity_id"], table["dropped"], strict=True) if reason == KEPT}


def read_labels(path: Path) -> NDArray[np.int64]:
    """Identity of every image, shape (num_images,), from ``faces.parquet``."""
    return pq.read_table(path, columns=["identity_id"])["identity_id"].to_numpy()
