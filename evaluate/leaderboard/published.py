"""``reports/published.csv`` -> accuracies that papers printed, with their misprints marked.

The file holds one row per dataset and training recipe, with the accuracies on the five sets in per cent as printed and
the source of each row (docs/field.md, section 3).
"""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import InputError
from evaluate.leaderboard.protocol_names import FIVE

_COLUMNS = ["dataset", "generator", "year", "n_ids", "n_images", "backbone", "loss", *FIVE, "avg", "source"]
_REFERENCE = "CASIA-WebFace (real)"


@dataclass(frozen=True)
class PublishedRow:
    """One row of a paper. Accuracies are in per cent, as printed; None where the source prints none."""

    dataset: str
    generator: str
    year: int | None
    num_identities: int | None
    num_images: int | None
    recipe: str
    accuracies: dict[str, float | None]
    printed_mean: float | None
    source: str
    gap_to_real: float | None = None
    """REAL - SYN in points, where REAL is CASIA-WebFace by the same source and recipe; None without such a row."""

    @property
    def is_real(self) -> bool:
        """Whether the training faces are all photographs."""
        return self.generator == "real"

    @property
    def mean(self) -> float | None:
        """Mean of the five printed accuracies; the printed mean where one of them is missing."""
        values = [value for value in self.accuracies.values() if value is not None]
        return math.fsum(values) / len(FIVE) if len(values) == len(FIVE) else self.printed_mean

    @property
    def is_misprint(self) -> bool:
        """Whether the printed mean contradicts the five printed accuracies.

        The accuracies and the mean are each rounded to 0.01, so that a difference up to 0.01 is no mistake.
        """
        return self.printed_mean is not None and abs(self.printed_mean - (self.mean or 0)) > 0.01 + 1e-9

    @property
    def misprint(self) -> str | None:
        """Description of a misprint in the source or in a table that quotes it; None without one."""
        if self.is_misprint:
            return f"printed {self.printed_mean:.2f}, the five average {self.mean:.2f}"
        quoted = re.search(r"\(([^()]*transcription error)\)", self.source)
        return quoted[1] if quoted else None

    @property
    def table(self) -> tuple[str, str]:
        """Source without its remarks, and recipe; rows that share both were trained alike."""
        return self.source.split("(printed")[0].split(";")[0].strip(), self.recipe


def read_published(path: Path) -> list[PublishedRow]:
    """The rows of ``published.csv``, the best mean first.

    Raises:
        InputError: If the columns differ, or an accuracy is not a number in 0 to 100.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != _COLUMNS:
            raise InputError(f"{path} has columns {reader.fieldnames}; give it the columns {_COLUMNS}")
        rows = [_parse(row, f"{path} line {reader.line_num}") for row in reader]
    real = {row.table: row.mean for row in rows if row.is_real and row.dataset.startswith(_REFERENCE)}
    for i, row in enumerate(rows):
        reference = real.get(row.table)
        if reference and row.mean and row.recipe and not row.is_real:
            rows[i] = replace(row, gap_to_real=reference - row.mean)
    return sorted(rows, key=lambda row: (-(row.mean or 0), row.dataset))


def group_by_size(rows: Sequence[PublishedRow]) -> dict[str, list[PublishedRow]]:
    """Datasets of one generator in three sizes or more, by the same source and recipe.

    Returns:
        Name of the generator -> its datasets, the smallest first. A second group of one generator is named after its
        largest dataset.
    """
    groups: dict[tuple[str, ...], list[PublishedRow]] = {}
    for row in rows:
        if row.num_images and row.mean and not row.is_real:
            groups.setdefault((row.generator, *row.table), []).append(row)
    series: dict[str, list[PublishedRow]] = {}
    for (generator, *_), members in groups.items():
        if len({row.num_images for row in members}) >= 3:
            ordered = sorted(members, key=lambda row: row.num_images or 0)
            name = generator.split(" (")[0]
            series[name if name not in series else ordered[-1].dataset] = ordered
    return series


def _parse(row: dict[str, str], line: str) -> PublishedRow:
    try:
        numbers = {name: float(row[name]) if row[name] else None for name in (*FIVE, "avg")}
        counts = {name: int(row[name]) if row[name] else None for name in ("year", "n_ids", "n_images")}
    except ValueError as error:
        raise InputError(f"{line}: {error}; write numbers in per cent, or leave the field empty") from None
    outside = [value for value in numbers.values() if value is not None and not 0 <= value <= 100]
    if outside:
        raise InputError(f"{line}: accuracies {outside} are outside 0 to 100; write them in per cent")
    recipe = ", ".join(part for part in dict.fromkeys((row["backbone"], row["loss"])) if part)
    return PublishedRow(
        dataset=row["dataset"],
        generator=row["generator"],
        year=counts["year"],
        num_identities=counts["n_ids"],
        num_images=counts["n_images"],
        recipe=recipe,
        accuracies={name: numbers[name] for name in FIVE},
        printed_mean=numbers["avg"],
        source=row["source"],
    )
