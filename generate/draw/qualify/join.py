"""Shards of images -> faces.lmdb, faces.parquet and the statistics of the card; with a quota also refused.parquet.

One shard is read at a time, so memory does not grow with the dataset.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.lmdb_file import FaceWriter
from bench.files import atomic_path
from bench.machine.progress import progress
from bench.runs.card_parts.statistics import BytesPerImage, DatasetStatistics, ImagesPerIdentity
from generate.draw.qualify.filters import KEPT, REASONS
from generate.draw.qualify.quota import QUOTA_REASONS, SPARE
from generate.draw.shards import DrawnFaces, filled_identities, read_images, record_schema

_CONSISTENT_COSINE = 0.7
"""Cosine to the identity vector from which AttrOP accepts an image as that person (preset v1)."""
REFUSED_NAME = "refused.parquet"


def join_shards(
    shards: Sequence[Path], directory: Path, num_images: int, *, num_identities: int | None = None
) -> DrawnFaces:
    """Join shards of images, in their order, into ``faces.lmdb`` and ``faces.parquet``.

    Identities are renumbered without gaps, because all images of an identity may have been dropped.

    Args:
        shards: The shards.
        directory: Folder of the dataset.
        num_images: Number of images before filtering, for the progress bar.
        num_identities: With a quota, identities of the dataset: the first that filled it. ``refused.parquet`` then
            holds the record of every refused image and the reason.

    Returns:
        Counts, and statistics of the images.

    Raises:
        InputError: If no image is left, or a shard was damaged after it was written. Such a shard is deleted, so that
            the next run makes it again.
    """
    is_quota = num_identities is not None
    joined = _Joined(num_identities)
    schema = record_schema(read_images(shards[0]).column_names)
    with (
        progress(desc="write dataset", total=num_images) as bar,
        atomic_path(directory / "faces.parquet") as records_path,
        FaceWriter(directory / "faces.lmdb") as faces,
        pq.ParquetWriter(records_path, schema) as writer,
        _refused_writer(directory, schema) if is_quota else nullcontext() as refused_writer,
    ):
        for shard in shards:
            table = read_images(shard)
            reasons, identities = joined.add(table)
            is_kept = pa.array([reason == KEPT for reason in reasons])
            table_kept = table.filter(is_kept)
            for content, identity_id in zip(table_kept["encoded"], identities, strict=True):
                faces.write(content.as_py(), identity_id)
            records = table_kept.select(schema.names).set_column(0, schema.field(0), pa.array(identities, pa.int64()))
            writer.write_table(records)
            if refused_writer is not None:
                refused = table.select(schema.names).append_column("reason", pa.array(reasons, pa.string()))
                refused_writer.write_table(refused.filter(pc.invert(is_kept)))
            joined.totals.add(records)
            bar.update(len(table))
        if not joined.labels:
            counted = ", ".join(f"{reason} {joined.dropped[reason]}" for reason in REASONS if joined.dropped[reason])
            raise InputError(
                f"all {num_images} images of {directory} were dropped by filters ({counted}); relax generator.filters"
            )
    return joined.drawn_faces(shards, directory)


class _Joined:
    """Running totals over the joined shards: labels of the identities, counts of kept and of dropped images.

    Args:
        num_identities: With a quota, identities of the dataset; None without.
    """

    def __init__(self, num_identities: int | None) -> None:
        self.num_identities = num_identities
        self.labels: dict[int, int] = {}
        self.dropped: Counter[str] = Counter()
        self.totals = _Totals()
        self._images_of: Counter[int] = Counter()
        self._tried: set[int] = set()

    def add(self, table: pa.Table) -> tuple[list[str], list[int]]:
        """Count the images of a shard; returns the reason of each image, and the label of each kept one."""
        numbers = table["identity_id"].to_pylist()
        self._tried.update(numbers)
        reasons = _label_identities(numbers, table["dropped"].to_pylist(), self.labels, self.num_identities)
        self.dropped.update(reason for reason in reasons if reason != KEPT)
        identities = [self.labels[number] for number, reason in zip(numbers, reasons, strict=True) if reason == KEPT]
        self._images_of.update(identities)
        return reasons, identities

    def drawn_faces(self, shards: Sequence[Path], directory: Path) -> DrawnFaces:
        """Counts and statistics of the finished dataset."""
        is_quota, counts = self.num_identities is not None, np.array(list(self._images_of.values()))
        few, many = int(counts.min()), int(counts.max())
        statistics = DatasetStatistics(
            images_per_identity=ImagesPerIdentity(min=few, mean=float(counts.mean()), max=many),
            dropped={reason: self.dropped[reason] for reason in (*REASONS, *(QUOTA_REASONS if is_quota else ()))},
            bytes_per_image=_bytes_per_image(shards, directory, int(counts.sum())),
        )
        if is_quota:
            num_short = len(self._tried) - sum(len(filled_identities(shard)) for shard in shards)
            quota_statistics = DatasetStatistics(identities_tried=len(self._tried), identities_short=num_short)
            statistics = statistics.merged(quota_statistics)
        return DrawnFaces(int(counts.sum()), len(counts), statistics.merged(self.totals.statistics()))


@contextmanager
def _refused_writer(directory: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Writes refused.parquet, the columns of faces.parquet and the reason; it appears whole."""
    columns = schema.append(pa.field("reason", pa.string()))
    with atomic_path(directory / REFUSED_NAME) as path, pq.ParquetWriter(path, columns) as writer:
        yield writer


def _label_identities(
    numbers: Sequence[int], reasons: Sequence[str], labels: dict[int, int], num_identities: int | None
) -> list[str]:
    """Give the identities of a shard that have a kept image their labels, and refuse those that are not needed.

    Args:
        numbers: Number of the identity of each image.
        reasons: Why each image is refused, or ``KEPT``.
        labels: Number -> label of the identities so far; further ones are added.
        num_identities: Identities that are needed; None labels all.

    Returns:
        The reasons, ``SPARE`` for kept images of identities that are not needed.
    """
    decided = []
    for number, reason in zip(numbers, reasons, strict=True):
        if reason == KEPT and number not in labels:
            if len(labels) == num_identities:
                reason = SPARE
            else:
                labels[number] = len(labels)
        decided.append(reason)
    return decided


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
        self._add_means(measured)
        self._sums["consistent"] += int((records["identity_cosine"].to_numpy() >= _CONSISTENT_COSINE).sum())

    def _add_landmarks(self, records: pa.Table) -> None:
        by_landmarks = records["picture"].to_numpy() >= 0
        self._has_landmarks = True
        self._counts["landmarks"] += int(by_landmarks.sum())
        self._sums["landmarks_accepted"] += int(records["accepted"].to_numpy()[by_landmarks].sum())
        self._add_means(
            {
                "landmark_yaw_miss": np.abs(records["yaw"].to_numpy() - records["landmark_yaw"].to_numpy()),
                "landmark_identity_cosine": records["identity_cosine"].to_numpy()[by_landmarks],
            }
        )

    def _add_means(self, measured: Mapping[str, NDArray]) -> None:
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
