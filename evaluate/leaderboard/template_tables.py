"""Result cards -> tables of template protocols (IJB-B, IJB-C): true accept rates apart from the accuracies of pairs.

Rows are those of ``evaluate.leaderboard.rows`` (seeds together, divisions, notes); here is what stands in them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from bench.runs.cards import TemplateResult
from evaluate.leaderboard.cells import ABSENT, count, division_title, percent, seeds_cell
from evaluate.leaderboard.rows import Result, Row, make_row, protocol_title, row_key
from evaluate.leaderboard.tables import DIVISIONS, closed_and_references
from evaluate.metrics import FARS

RANKING_FAR = "1e-4"
"""The rate that papers quote, by which rows are ordered."""


@dataclass(frozen=True)
class Rate:
    """A true accept rate with its uncertainty."""

    value: float
    spread: float
    """Binomial standard error over the genuine pairs, taken as independent; over several seeds standard deviation."""


@dataclass(frozen=True)
class TemplateTable:
    """One template protocol: rows by division, the best at ``RANKING_FAR`` first."""

    name: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What the rows are measured on."""
        return f"{protocol_title(self.name)}: templates one to one, TAR at FAR"

    def results(self, row: Row) -> list[TemplateResult]:
        """The protocol's numbers of each seed."""
        return [one.card.templates[self.name] for one in row.results]

    def rate(self, row: Row, far: str) -> Rate | None:
        """True accept rate of a row; None where the impostors of some seed cannot resolve ``far``."""
        results = self.results(row)
        rates = [tar for one in results if (tar := one.tar_at_far.get(far)) is not None]
        if len(rates) != len(results):
            return None
        value, num_genuine = fmean(rates), results[0].num_pairs - results[0].num_impostors
        return Rate(value, stdev(rates) if len(rates) > 1 else (value * (1 - value) / num_genuine) ** 0.5)

    @property
    def footnotes(self) -> dict[str, str]:
        """Mark -> note, for all notes of the rows."""
        notes = dict.fromkeys(note for row in self.rows for note in row.notes)
        return {str(number): note for number, note in enumerate(notes, start=1)}


def make_template_tables(results: Iterable[Result]) -> list[TemplateTable]:
    """A table for each template protocol that a result has, in the order of their names."""
    closed, references = closed_and_references()
    found: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        for name in result.card.templates:
            found.setdefault(name, {}).setdefault(row_key(result, (name,)), []).append(result)
    tables = []
    for name, seeds in sorted(found.items()):
        rows = [make_row((name,), one, closed=closed, references=references) for one in seeds.values()]
        unordered = TemplateTable(name, tuple(rows))
        rows.sort(key=lambda row: (DIVISIONS.index(row.division), -_at_ranking_far(unordered, row), row.label))
        tables.append(TemplateTable(name, tuple(rows)))
    return tables


def template_cells(table: TemplateTable) -> list[list[str]]:
    """Header and rows as text; rates in per cent."""
    marks = {note: mark for mark, note in table.footnotes.items()}
    lines = [["row", "division", "seeds", *FARS, "genuine pairs", "impostor pairs", "templates", "commit"]]
    for row in table.rows:
        first = table.results(row)[0]
        rates = [table.rate(row, far) for far in FARS]
        lines.append(
            [
                " ".join([row.label, *(f"[{marks[note]}]" for note in row.notes)]),
                division_title(row),
                seeds_cell(row),
                *(ABSENT if one is None else f"{percent(one.value)} ± {percent(one.spread)}" for one in rates),
                *map(count, (first.num_pairs - first.num_impostors, first.num_impostors, first.num_templates)),
                row.commit,
            ]
        )
    return lines


def _at_ranking_far(table: TemplateTable, row: Row) -> float:
    rate = table.rate(row, RANKING_FAR)
    return rate.value if rate else -1
