"""Numbers of 16 public synthetic datasets, to show beside those of an audited set: ``reports/published_audits.csv``.

The genuine and impostor means, equal error rates, Fisher ratios and nearest matches were measured by the authors of
arXiv 2510.17372 with one network, ArcFace R100 trained on MS1MV3, and matches against all images of CASIA-WebFace.
Another network gives other numbers: compare an audited set with them by order of magnitude only.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InputError
from evaluate.leaderboard.published import read_published

REPORTS = Path(__file__).parent.parent.parent.parent / "reports"
JUDGE = "ArcFace R100 trained on MS1MV3"
_FRACTIONS = ("genuine_mean", "impostor_mean", "eer", "match_median", "match_p99", "match_max", "match_above_half")
_COLUMNS = ("dataset", "n_images", *_FRACTIONS[:3], "fisher_ratio", *_FRACTIONS[3:], "accuracy_row", "source")


@dataclass(frozen=True)
class PublishedAudit:
    """One public dataset. Cosines, and rates as fractions."""

    dataset: str
    num_images: int
    genuine_mean: float
    impostor_mean: float
    eer: float
    fisher_ratio: float
    match_median: float
    """Median over 10,000 of its images of the cosine to the nearest image of CASIA-WebFace."""
    match_p99: float
    match_max: float
    match_above_half: float
    """Share of these images with a cosine above 0.5."""
    accuracy: float | None
    """Mean accuracy on the five sets of a network trained on it, in per cent, as its authors print it; None without."""


def read_published_audits(reports: Path = REPORTS) -> list[PublishedAudit]:
    """The published numbers, the highest Fisher ratio first.

    Args:
        reports: Folder of ``published_audits.csv``, and of ``published.csv``, which holds the accuracies.

    Raises:
        InputError: If a column is missing, a value is no number, or a named row of ``published.csv`` does not exist.
    """
    path = reports / "published_audits.csv"
    accuracies = {row.dataset: row.mean for row in read_published(reports / "published.csv")}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise InputError(f"{path} has columns {reader.fieldnames}; give it the columns {list(_COLUMNS)}")
        audits = [_parse(row, accuracies, f"{path} line {reader.line_num}") for row in reader]
    return sorted(audits, key=lambda audit: -audit.fisher_ratio)


def _parse(row: dict[str, str], accuracies: dict[str, float | None], line: str) -> PublishedAudit:
    name = row["accuracy_row"]
    if name and name not in accuracies:
        raise InputError(f"{line}: {name} is no dataset of published.csv; write one of its names or leave it empty")
    try:
        figures = {column: float(row[column]) for column in (*_FRACTIONS, "fisher_ratio")}
        return PublishedAudit(row["dataset"], int(row["n_images"]), **figures, accuracy=accuracies.get(name))
    except ValueError as error:
        raise InputError(f"{line}: {error}; write a number") from None
