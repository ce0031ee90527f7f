"""Shards: files that hold whole identities, and the function that joins them into one dataset.

A shard of images is a Parquet file with one row per image: its record (identity, how it was made, measured values) and
the encoded image. A shard of centres is an ``.npz``. A shard that was cut short is recognised and made again. Joining
reads one shard at a time, so memory does not grow with the dataset.
"""

import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.lmdb_file import FaceWriter
from bench.files import atomic_path
from bench.machine.progress import progress
from bench.runs.card_parts.statistics import BytesPerImage, DatasetStatistics, ImagesPerIdentity
from generate.draw.filters import KEPT, REASONS

_POLL_SECONDS = 0.2
_CONSISTENT_COSINE = 0.7
"""Cosine to the identity vector from which AttrOP accepts an image as that person (preset v1)."""
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


def _record_schema(names: Iterable[str]) -> pa.Schema:
    """Columns of faces.parquet, with those of ``POSE_RECORD`` if the names have them."""
    return pa.unify_schemas([RECORD, POSE_RECORD]) if set(POSE_RECORD.names) <= set(names) else RECORD


def _shard_schema(names: Iterable[str]) -> pa.Schema:
    """Columns of a shard of images: those of faces.parquet, why an image is dropped, and the image file."""
    return _record_schema(names).append(pa.field("dropped", pa.string())).append(pa.field("encoded", pa.binary()))


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


def gather(paths: Sequence[Path], name: str) -> NDArray:
    """One array of all shards of centres, joined along the rows; needs no more memory than the result."""
    counts = [len(np.load(path)["steps"]) for path in paths]
    ends = np.cumsum(counts)
    first = np.load(paths[0])[name]
    joined = np.empty((ends[-1], *first.shape[1:]), first.dtype)
    for path, end, count in zip(paths, ends, counts, strict=True):
        joined[end - count : end] = np.load(path)[name]
    return joined


def wait_for(paths: Sequence[Path], is_over: Callable[[], bool] = lambda: False) -> None:
    """Return when all files exist, which other processes write.

    Args:
        paths: The files.
        is_over: Whether the files will not appear any more.

    Raises:
        FileNotFoundError: If a file does not exist and ``is_over`` is true.
    """
    for path in paths:
        while not path.exists():
            if is_over():
                raise FileNotFoundError(path)
            time.sleep(_POLL_SECONDS)


def join_shards(shards: Sequence[Path], directory: Path, num_images: int) -> DrawnFaces:
    """Join shards of images, in their order, into ``faces.lmdb`` and ``faces.parquet``.

    Identities are renumbered without gaps, because all images of an identity may have been dropped.

    Args:
        shards: The shards.
        directory: Folder of the dataset.
        num_images: Number of images before filtering, for the progress bar.

    Returns:
        Counts, and statistics of the images.

    Raises:
        InputError: If no image is left, or a shard was damaged after it was written. Such a shard is deleted, so that
            the next run makes it again.
    """
    dropped: Counter[str] = Counter()
    images_of: Counter[int] = Counter()
    totals = _Totals()
    schema = _record_schema(_read_images(shards[0]).column_names)
    with (
        progress(desc="write dataset", total=num_images) as bar,
        atomic_path(directory / "faces.parquet") as records_path,
        FaceWriter(directory / "faces.lmdb") as faces,
        pq.ParquetWriter(records_path, schema) as writer,
    ):
        labels: dict[int, int] = {}
        for shard in shards:
            table = _read_images(shard)
            reasons = table["dropped"].to_pylist()
            dropped.update(reason for reason in reasons if reason != KEPT)
            table_kept = table.filter(pa.array([reason == KEPT for reason in reasons]))
            identities = [labels.setdefault(number, len(labels)) for number in table_kept["identity_id"].to_pylist()]
            images_of.update(identities)
            for content, identity_id in zip(table_kept["encoded"], identities, strict=True):
                faces.write(content.as_py(), identity_id)
            records = table_kept.select(schema.names).set_column(0, RECORD.field(0), pa.array(identities, pa.int64()))
            writer.write_table(records)
            totals.add(records)
            bar.update(len(table))
        if not labels:
            counted = ", ".join(f"{reason} {dropped[reason]}" for reason in REASONS if dropped[reason])
            raise InputError(
                f"all {num_images} images of {directory} were dropped by filters ({counted}); relax generator.filters"
            )
    counts = np.array(list(images_of.values()))
    return DrawnFaces(
        int(counts.sum()),
        len(counts),
        DatasetStatistics(
            images_per_identity=ImagesPerIdentity(
                min=int(counts.min()), mean=float(counts.mean()), max=int(counts.max())
            ),
            dropped={reason: dropped[reason] for reason in REASONS},
            bytes_per_image=_bytes_per_image(shards, directory, int(counts.sum())),
        ).merged(totals.statistics()),
    )


def _read_images(shard: Path) -> pa.Table:
    try:
        return pq.read_table(shard, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        shard.unlink(missing_ok=True)
        raise InputError(
            f"{shard} was damaged ({error}) and is now deleted; run the same command again to make a new one"
        ) from None


def read_labels(path: Path) -> NDArray[np.int64]:
    """Identity of every image, shape (num_images,), from ``faces.parquet``."""
    return pq.read_table(path, columns=["identity_id"])["identity_id"].to_numpy()


def _bytes_per_image(shards: Sequence[Path], directory: Path, num_images: int) -> BytesPerImage:
    faces, records = ((directory / name).stat().st_size for name in ("faces.lmdb", "faces.parquet"))
    peak = faces + records + sum(shard.stat().st_size for shard in shards)
    return BytesPerImage(faces=faces / num_images, most=peak / num_images)


class _Totals:
    """Running sums over records, and the statistics that follow from them."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        self._has_landmarks = False

    def add(self, records: pa.Table) -> None:
        posed = np.isfinite(records["target_yaw"].to_numpy())
        self._counts["posed"] += int(posed.sum())
        self._counts["turned"] += int(np.isfinite(records["turned_yaw"].to_numpy()).sum())
        if "picture" in records.column_names:
            self._add_landmarks(records)
        self._sums["posed_accepted"] += int(records["accepted"].to_numpy()[posed].sum())
        self._sums["posed_steps"] += int(records["steps"].to_numpy()[posed].sum())
        measured = {name: records[name].to_numpy() for name in ("identity_cosine", "quality", "known_cosine")}
        measured["attribute_yaw_miss"] = np.abs(records["yaw"].to_numpy() - records["target_yaw"].to_numpy())
        for name, values in measured.items():
            values = values[np.isfinite(values)]
            self._counts[name] += len(values)
            self._sums[name] += float(values.sum(dtype=np.float64))
        self._sums["consistent"] += int((records["identity_cosine"].to_numpy() >= _CONSISTENT_COSINE).sum())

    def _add_landmarks(self, records: pa.Table) -> None:
        by_landmarks = records["picture"].to_numpy() >= 0
        self._has_landmarks = True
        self._counts["landmarks"] += int(by_landmarks.sum())
        self._sums["landmarks_accepted"] += int(records["accepted"].to_numpy()[by_landmarks].sum())
        measured = {
            "landmark_yaw_miss": np.abs(records["yaw"].to_numpy() - records["landmark_yaw"].to_numpy()),
            "landmark_identity_cosine": records["identity_cosine"].to_numpy()[by_landmarks],
        }
        for name, values in measured.items():
            values = values[np.isfinite(values)]
            self._counts[name] += len(values)
            self._sums[name] += float(values.sum(dtype=np.float64))

    def _landmark_statistics(self) -> DatasetStatistics:
        """Statistics of the images with a landmark picture; none where the settings have no ``pose``."""
        if not self._has_landmarks:
            return DatasetStatistics()
        return DatasetStatistics(
            landmark_images=self._counts["landmarks"],
            landmark_images_accepted=int(self._sums["landmarks_accepted"]),
            landmark_yaw_miss_mean=self._mean("landmark_yaw_miss"),
            landmark_identity_cosine_mean=self._mean("landmark_identity_cosine"),
        )

    def statistics(self) -> DatasetStatistics:
        posed = self._counts["posed"]
        return DatasetStatistics(
            turned_images=self._counts["turned"],
            attribute_images=posed,
            attribute_images_accepted=int(self._sums["posed_accepted"]),
            attribute_steps_mean=self._mean("posed_steps", posed),
            consistent_share=self._mean("consistent", self._counts["identity_cosine"]),
            attribute_yaw_miss_mean=self._mean("attribute_yaw_miss"),
            identity_cosine_mean=self._mean("identity_cosine"),
            quality_mean=self._mean("quality"),
            known_cosine_mean=self._mean("known_cosine"),
        ).merged(self._landmark_statistics())

    def _mean(self, name: str, count: int | None = None) -> float | None:
        """A sum over ``count``, by default the number of values in it; None where nothing was counted."""
        count = self._counts[name] if count is None else count
        return self._sums[name] / count if count else None
