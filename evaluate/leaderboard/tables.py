"""Rows -> the tables of a leaderboard: what is compared with what, in which division, and by how much. No rendering.

A table holds rows measured on the same protocols. Real sets, RFW's groups and rendered protocols never share one: a
result that has several of them gives a row to each. Ranks count within a group: one recipe of the closed division, the
open division, given weights.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bench.config.benchmarks import Benchmark, load_benchmarks
from bench.runs.inputs import is_rendered
from bench.runs.stage import closed_recipes
from evaluate.leaderboard.rows import (
    FAMILIES,
    FIVE,
    RENDERED_FIVE,
    Result,
    Row,
    family,
    make_row,
    place,
    protocol_title,
    row_key,
)
from evaluate.test_sets.registry import RFW

DIVISIONS = ("closed", "open", "given", "floor")
_GROUP_TITLES = {
    "open": "Open division: recipes of their own",
    "given": "Given weights: trained elsewhere, by recipes not known here",
    "floor": "Floors: no training",
}


@dataclass(frozen=True)
class Group:
    """Rows of one division, and in the closed division of one recipe: best first."""

    title: str
    places: tuple[int, ...]
    """Positions in the table's rows."""


@dataclass(frozen=True)
class Table:
    """Rows that may be compared, by group: closed division, open division, given weights, floors."""

    core: tuple[str, ...]
    extras: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def is_rendered(self) -> bool:
        """Whether the protocols are rendered heads."""
        return is_rendered(self.core[0])

    @property
    def title(self) -> str:
        """What the rows are measured on."""
        if self.core == FIVE:
            return "Real faces: the five sets"
        if self.core == RENDERED_FIVE:
            return "Rendered heads: the five protocols"
        if self.core == RFW:
            return "Groups of people: RFW"
        return f"{'Rendered heads' if self.is_rendered else 'Real faces'}: {', '.join(map(protocol_title, self.core))}"

    @property
    def key(self) -> str:
        """Short name for anchors and the CSV file."""
        named = {FIVE: "real_five", RENDERED_FIVE: "rendered_five", RFW: "rfw"}
        return named.get(self.core) or ("rendered_" if self.is_rendered else "real_") + "_".join(self.core)

    @cached_property
    def groups(self) -> list[Group]:
        """The groups in the order of the rows."""
        found: dict[tuple[str, str | None], list[int]] = {}
        for i, row in enumerate(self.rows):
            found.setdefault(_group_key(row), []).append(i)
        titles = (_group_title(self.rows[places[0]]) for places in found.values())
        return [Group(title, tuple(places)) for title, places in zip(titles, found.values(), strict=True)]

    @cached_property
    def best_floor(self) -> float | None:
        """Highest mean among the floors."""
        return max((row.mean.value for row in self.rows if row.is_floor), default=None)

    def gap_to_floor(self, row: Row) -> float | None:
        """Mean of the row less the best floor's; None without a floor, or for a floor."""
        return None if row.is_floor or self.best_floor is None else row.mean.value - self.best_floor

    def reference(self, row: Row) -> Row | None:
        """The best row that trains on the real reference by the same recipe; None without one."""
        found = [one for one in self.rows if one.is_reference and one.recipe_sha256 == row.recipe_sha256]
        return max(found, key=lambda one: one.mean.value, default=None) if row.recipe_sha256 else None

    def gap_to_real(self, row: Row) -> float | None:
        """REAL - SYN: mean of the real reference less the row's, as a fraction (GtR of CemiFace); None for itself."""
        reference = self.reference(row)
        return None if reference is None or reference is row else reference.mean.value - row.mean.value

    @cached_property
    def borda_ranks(self) -> dict[int, int]:
        """Rank of each row that is no floor within its group: a point per row beaten on a protocol, half on a tie."""
        ranks: dict[int, int] = {}
        for group in self.groups:
            if self.rows[group.places[0]].is_floor:
                continue
            values = np.array([[self.rows[i].protocol(name).value for name in self.core] for i in group.places])
            wins, ties = (np.sum(test, axis=(1, 2)) for test in (values[:, None] > values, values[:, None] == values))
            points = wins + ties / 2
            ranks |= {i: 1 + int((points > own).sum()) for i, own in zip(group.places, points, strict=True)}
        return ranks


def make_tables(results: Iterable[Result], benchmarks: Mapping[str, Benchmark] | None = None) -> list[Table]:
    """Tables of results: the five real sets first, then other real sets, then rendered heads.

    Args:
        results: As read from disk.
        benchmarks: Entries that say which recipes are closed and which rows are the real reference; None reads
            benchmarks.yaml.
    """
    closed, references = closed_and_references(benchmarks)
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in results:
        names = sorted(result.card.protocols, key=place)
        for one in FAMILIES:
            part = tuple(name for name in names if family(name) == one)
            if part:
                core = next((five for five in (FIVE, RENDERED_FIVE) if set(five) <= set(part)), part)
                groups.setdefault(core, {}).setdefault(row_key(result, core), []).append(result)
    tables = []
    for core, seeds in groups.items():
        rows = [make_row(core, one, closed=closed, references=references) for one in seeds.values()]
        tables.append(_make_table(core, rows))
    return sorted(tables, key=lambda table: (table.is_rendered, table.core != FIVE, -len(table.core), table.core))


def closed_and_references(benchmarks: Mapping[str, Benchmark] | None = None) -> tuple[set[tuple[str, str]], set[str]]:
    """Recipes of the closed division, by name and hash, and names of the benchmarks that are the real reference."""
    entries = list((load_benchmarks() if benchmarks is None else benchmarks).values())
    return closed_recipes(entries), {one.name for one in entries if one.real_reference}


def _make_table(core: tuple[str, ...], rows: list[Row]) -> Table:
    rows.sort(key=lambda row: (-row.mean.value, row.label))
    best = {key: i for i, key in reversed(list(enumerate(map(_group_key, rows))))}  # place of each group's best row
    rows.sort(key=lambda row: (DIVISIONS.index(row.division), best[_group_key(row)]))
    extras = sorted({name for row in rows for name in row.extras}, key=place)
    usual = {name: rows[0].card.protocols[name].sha256 for name in core}
    for i, row in enumerate(rows):
        other = [protocol_title(name) for name in core if row.card.protocols[name].sha256 != usual[name]]
        note = f"measured on another copy of {', '.join(other)} than the first row"
        rows[i] = replace(row, notes=(*row.notes, note)) if other else row
    return Table(core, tuple(extras), tuple(rows))


def _group_key(row: Row) -> tuple[str, str | None]:
    return row.division, row.recipe_sha256 if row.division == "closed" else None


def _group_title(row: Row) -> str:
    return _GROUP_TITLES.get(row.division) or f"Closed division, recipe {row.recipe}: only the dataset differs"
