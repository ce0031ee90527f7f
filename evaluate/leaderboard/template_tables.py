"""Results -> tables of template protocols (IJB-B, IJB-C): true accept rates, which share no mean with accuracies.

Rows, seeds and divisions are those of ``rows.py``; this module adds the rates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from bench.runs.cards import TemplateResult
from evaluate.leaderboard.protocol_names import protocol_title
from evaluate.leaderboard.read import Result
from evaluate.leaderboard.rows import DIVISIONS, Row, make_row, row_key
from evaluate.leaderboard.tables import closed_and_references, note_other_copies

RANKING_FAR = "1e-4"
"""Rows are ordered by TAR at this FAR, which papers quote."""


@dataclass(frozen=True)
class Rate:
    """A true accept rate with its uncertainty, fractions."""

    value: float
    """Mean over the seeds."""
    standard_error: float
    """Binomial, over the genuine pairs, taken as independent."""


@dataclass(frozen=True)
class TemplateTable:
    """Rows of one template protocol, by division; within a division the best at ``RANKING_FAR`` first."""

    name: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Heading: the protocol."""
        return f"{protocol_title(self.name)}: templates one to one, TAR at FAR"

    def results(self, row: Row) -> list[TemplateResult]:
        """The numbers of each seed."""
        return [card.templates[self.name] for card in row.cards]

    def rate(self, row: Row, far: str) -> Rate | None:
        """True accept rate of a row; None unless the impostor pairs of every seed resolve ``far``."""
        results = self.results(row)
        rates = [tar for result in results if (tar := result.tar_at_far.get(far)) is not None]
        if len(rates) != len(results):
            return None
        value, num_genuine = fmean(rates), results[0].num_pairs - results[0].num_impostors
        return Rate(value, (value * (1 - value) / num_genuine) ** 0.5)

    def seed_std(self, row: Row, far: str) -> float | None:
        """Sample standard deviation of a row's rate over the seeds; None for one seed, and where ``rate`` is None."""
        rates = [result.tar_at_far.get(far) for result in self.results(row)]
        known = [rate for rate in rates if rate is not None]
        return stdev(known) if len(known) == len(rates) > 1 else None


def make_template_tables(results: Iterable[Result]) -> list[TemplateTable]:
    """A table for each template protocol that a result has, ordered by name."""
    closed, references = closed_and_references()
    seeds_by_protocol: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        for name in result.card.templates:
            seeds_by_protocol.setdefault(name, {}).setdefault(row_key(result, (name,)), []).append(result)
    tables = []
    for name, seeds_by_key in sorted(seeds_by_protocol.items()):
        rows = [make_row((name,), seeds, closed=closed, references=references) for seeds in seeds_by_key.values()]
        unordered = TemplateTable(name, tuple(rows))
        rows.sort(key=lambda row: (DIVISIONS.index(row.division), -_ranking_rate(unordered, row), row.label))
        tables.append(TemplateTable(name, tuple(note_other_copies(rows))))
    return tables


def _ranking_rate(table: TemplateTable, row: Row) -> float:
    rate = table.rate(row, RANKING_FAR)
    return rate.value if rate else -1
