"""Results -> the tables of a leaderboard: which rows are compared, in which division, and by how much. No rendering.

The rows of a table share the protocols that enter the mean; a row may have further ones. Protocols of photographs,
those of RFW's groups, and rendered ones never share a table: a result that holds several of these families has a row in
the table of each. Ranks are counted within a group of rows, which is one recipe of the closed division, the open
division, or given weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.config.benchmarks import Benchmark, load_benchmarks
from bench.config.released import RELEASED_RECIPES
from bench.runs.inputs import is_rendered
from evaluate.leaderboard.protocol_names import (
    FAMILIES,
    FIVE,
    RENDERED_FIVE,
    column_order,
    protocol_family,
    protocol_title,
)
from evaluate.leaderboard.read import Result
from evaluate.leaderboard.rows import DIVISIONS, Row, make_row, row_key
from evaluate.test_sets.registry import RFW

_GROUP_TITLES = {
    "open": "Open division: recipes of their own",
    "given": "Given weights: trained elsewhere, by recipes not known here",
    "floor": "Floors: no training",
}


@dataclass(frozen=True)
class Group:
    """Rows of one division, and in the closed division of one recipe; the best first."""

    title: str
    positions: tuple[int, ...]
    """Positions among the rows of the table."""


@dataclass(frozen=True)
class Table:
    """Rows that may be compared, by group: closed division, open division, given weights, floors."""

    core: tuple[str, ...]
    """Protocols that enter the mean."""
    extras: tuple[str, ...]
    """Further protocols that some row has."""
    rows: tuple[Row, ...]
    sweeps: "tuple[FoldedSweep, ...]" = ()
    """Settings of sweeps, which are shown under one line each, and neither ranked nor compared with the rows."""

    @property
    def is_rendered(self) -> bool:
        """Whether the protocols show rendered heads."""
        return is_rendered(self.core[0])

    @property
    def title(self) -> str:
        """Heading: the protocols."""
        if self.core == FIVE:
            return "Real faces: the five sets"
        if self.core == RENDERED_FIVE:
            return "Rendered heads: the five protocols"
        if self.core == RFW:
            return "Groups of people: RFW"
        if protocol_family(self.core[0]) == "hard":
            return f"Hard sets: {', '.join(map(protocol_title, self.core))}"
        return f"{'Rendered heads' if self.is_rendered else 'Real faces'}: {', '.join(map(protocol_title, self.core))}"

    @property
    def key(self) -> str:
        """Short name for anchors and the CSV file."""
        names = {FIVE: "real_five", RENDERED_FIVE: "rendered_five", RFW: "rfw"}
        return names.get(self.core) or ("rendered_" if self.is_rendered else "real_") + "_".join(self.core)

    @cached_property
    def groups(self) -> list[Group]:
        """The groups in the order of the rows."""
        positions: dict[tuple[str, str | None], list[int]] = {}
        for position, row in enumerate(self.rows):
            positions.setdefault(_group_key(row), []).append(position)
        return [Group(_group_title(self.rows[members[0]]), tuple(members)) for members in positions.values()]

    def best_floor(self, row: Row) -> float | None:
        """Highest mean among the floors that were measured on the row's test sets; None without a floor."""
        floors = [other for other in self.rows if other.is_floor and other.test_sets == row.test_sets]
        return max((floor.mean.value for floor in floors), default=None)

    def gap_to_floor(self, row: Row) -> float | None:
        """Mean of the row minus that of its best floor, a fraction; None without a floor, and for floors."""
        floor = self.best_floor(row)
        return None if row.is_floor or floor is None else row.mean.value - floor

    def reference(self, row: Row) -> Row | None:
        """The best row that was trained on the real reference by the same recipe; None without one.

        It was measured on the row's test sets.
        """
        if not row.recipe_sha256:
            return None
        recipe = (row.recipe_sha256, row.test_sets)
        references = [row for row in self.rows if row.is_reference and (row.recipe_sha256, row.test_sets) == recipe]
        return max(references, key=lambda reference: reference.mean.value, default=None)

    def gap_to_real(self, row: Row) -> float | None:
        """Mean of the real reference minus that of the row, a fraction.

        This is REAL - SYN, the GtR of CemiFace (docs/field.md, section 5.2). None for the reference itself, and without
        one.
        """
        reference = self.reference(row)
        return None if reference is None or reference is row else reference.mean.value - row.mean.value

    @cached_property
    def borda_ranks(self) -> dict[int, int]:
        """Position -> rank within its group, by Borda count; floors have none.

        A row gets a point for every row of its group that it beats on a core protocol, and half a point for a tie.
        Rows that were measured on other copies of the test sets are ranked apart.
        """
        ranks: dict[int, int] = {}
        for group in self.groups:
            positions_by_copies: dict[tuple[str | None, ...], list[int]] = {}
            for position in group.positions:
                if not self.rows[position].is_floor:
                    positions_by_copies.setdefault(self.rows[position].test_sets, []).append(position)
            for positions in positions_by_copies.values():
                ranks |= self._borda_ranks(positions)
        return ranks

    def _borda_ranks(self, positions: Sequence[int]) -> dict[int, int]:
        """Ranks of rows that are compared with each other."""
        accuracies = [[self.rows[i].accuracy(name).value for name in self.core] for i in positions]
        values = np.round(accuracies, 9)  # (rows, protocols); means of other folds may differ in the last bit
        wins = np.sum(values[:, None] > values, axis=(1, 2))
        ties = np.sum(values[:, None] == values, axis=(1, 2))
        points = wins + ties / 2
        return {i: 1 + int((points > own).sum()) for i, own in zip(positions, points, strict=True)}


@dataclass(frozen=True)
class FoldedSweep:
    """The settings of one sweep in one table."""

    name: str
    table: Table
    """Its rows, with the protocols of the table that it belongs to."""

    @property
    def page(self) -> str:
        """The sweep's own page, relative to the leaderboard."""
        return f"sweeps/{self.name}/index.html"

    @property
    def means(self) -> tuple[float, float]:
        """Lowest and highest mean accuracy over its settings, fractions."""
        means = [row.mean.value for row in self.table.rows]
        return min(means), max(means)


def make_tables(results: Iterable[Result], benchmarks: Mapping[str, Benchmark] | None = None) -> list[Table]:
    """Tables of results: the five real sets first, then other real sets, then rendered heads.

    Args:
        results: Results as read from disk.
        benchmarks: Entries that define the real references; None reads benchmarks.yaml.
    """
    closed, references = closed_and_references(benchmarks)
    seeds_by_core: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in results:
        for core in _cores(result):
            seeds_by_core.setdefault(core, {}).setdefault(row_key(result, core), []).append(result)
    tables = []
    for core, seeds_by_key in seeds_by_core.items():
        rows = [make_row(core, seeds, closed=closed, references=references) for seeds in seeds_by_key.values()]
        tables.append(_make_table(core, rows))
    return sorted(tables, key=lambda table: (table.is_rendered, table.core != FIVE, -len(table.core), table.core))


def closed_and_references(benchmarks: Mapping[str, Benchmark] | None = None) -> tuple[set[tuple[str, str]], set[str]]:
    """What benchmarks.yaml says of divisions and references.

    Args:
        benchmarks: Entries by name; None reads benchmarks.yaml.

    Returns:
        Names and hashes of the released recipes, which make the closed division, and the names of the benchmarks that
        are a real reference (``real_reference``).
    """
    entries = list((load_benchmarks() if benchmarks is None else benchmarks).values())
    return set(RELEASED_RECIPES.items()), {entry.name for entry in entries if entry.real_reference}


def _cores(result: Result) -> list[tuple[str, ...]]:
    """The core protocols of each table that a result belongs to: one per family.

    Where a result has all five sets, these are the core, and its further sets are extras.
    """
    names = sorted(result.card.protocols, key=column_order)
    cores = []
    for family in FAMILIES:
        members = tuple(name for name in names if protocol_family(name) == family)
        fives = [five for five in (FIVE, RENDERED_FIVE) if set(five) <= set(members)]
        if members:
            cores.append(fives[0] if fives else members)
    return cores


def _make_table(core: tuple[str, ...], rows: list[Row]) -> Table:
    """The table of rows; settings of sweeps are folded, unless the table holds nothing else."""
    by_sweep: dict[str, list[Row]] = {}
    for row in rows:
        by_sweep.setdefault(row.sweep, []).append(row)
    usual = by_sweep.pop("", [])
    if not usual:
        return _table_of_rows(core, rows)
    sweeps = [FoldedSweep(name, _table_of_rows(core, members)) for name, members in sorted(by_sweep.items())]
    return replace(_table_of_rows(core, usual), sweeps=tuple(sweeps))


def _table_of_rows(core: tuple[str, ...], rows: list[Row]) -> Table:
    rows = _order_rows(rows)
    extras = sorted({name for row in rows for name in row.extras}, key=column_order)
    return Table(core, tuple(extras), tuple(note_other_copies(rows)))


def _order_rows(rows: Sequence[Row]) -> list[Row]:
    """By division, then the groups by their best row, then by mean."""
    by_mean = sorted(rows, key=lambda row: (-row.mean.value, row.label))
    best: dict[tuple[str, str | None], int] = {}  # position of the best row of each group
    for position, row in enumerate(by_mean):
        best.setdefault(_group_key(row), position)
    return sorted(by_mean, key=lambda row: (DIVISIONS.index(row.division), best[_group_key(row)]))


def note_other_copies(rows: Sequence[Row]) -> list[Row]:
    """The rows, those with a footnote that were measured on another copy of a test set than the first row.

    Args:
        rows: Rows of one table, which have the same core protocols.
    """
    noted = []
    for row in rows:
        copies = zip(row.core, row.test_sets, rows[0].test_sets, strict=True)
        others = [protocol_title(name) for name, own, first in copies if own != first]
        note = f"measured on another copy of {', '.join(others)} than the first row"
        noted.append(replace(row, notes=(*row.notes, note)) if others else row)
    return noted


def _group_key(row: Row) -> tuple[str, str | None]:
    return row.division, row.recipe_sha256 if row.division == "closed" else None


def _group_title(row: Row) -> str:
    return _GROUP_TITLES.get(row.division) or f"Closed division, recipe {row.recipe_name}: only the dataset differs"
