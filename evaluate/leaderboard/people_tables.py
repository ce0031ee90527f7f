"""Results -> tables of errors by group and of identification, which share no mean with accuracies; and their cells.

Rows, seeds and divisions are those of ``rows.py``. Numbers are means over the seeds; intervals, values with shuffled
labels and figures are those of the first seed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.runs.card_parts.groups import FairnessMeasure, GroupErrors, Interval
from bench.runs.cards import ResultCard
from evaluate.leaderboard.cells import ABSENT, division_title, format_count, format_percent, label_cell, seeds_cell
from evaluate.leaderboard.protocol_names import protocol_title
from evaluate.leaderboard.read import Result
from evaluate.leaderboard.rows import DIVISIONS, Row, make_row, number_notes, row_key
from evaluate.leaderboard.tables import closed_and_references, note_other_copies
from evaluate.measure.identification.measure import FPIRS, RANKS
from evaluate.pages.curves import cmc_plot, group_det_plot, group_rates_plot, legend, tpir_plot

_MEASURES = {
    "fmr_max_geo": "FMR max/geo mean",
    "fnmr_max_geo": "FNMR max/geo mean",
    "fairness_discrepancy_rate": "fairness discrepancy rate",
    "inequity_rate": "inequity rate",
}
"""Measures of a table beside GARBE, and their titles; the card has all of them."""


@dataclass(frozen=True)
class PeopleTable:
    """A table of one set: errors by one attribute at one false match rate, or identification."""

    key: str
    """Short name for anchors."""
    title: str
    note: str
    """What the columns mean."""
    cells: list[list[str]]
    """Header and rows."""
    rows: tuple[Row, ...]
    figures: list[tuple[str, str]]
    """Caption and SVG."""
    legend: list[tuple[str, str]]
    """Name and colour of each curve."""


def make_people_tables(results: Sequence[Result]) -> list[PeopleTable]:
    """Tables of errors by group, then those of identification, ordered by name of the set."""
    return [*_group_tables(results), *_identification_tables(results)]


def _group_tables(results: Sequence[Result]) -> Iterator[PeopleTable]:
    """Tables of each copy of each set; another copy has other people, and may have other groups."""
    for name, all_rows in _rows_by_set(results, lambda card: card.group_errors).items():
        copies: dict[tuple[str | None, ...], list[Row]] = {}
        for row in all_rows:
            copies.setdefault(row.test_sets, []).append(row)
        for (digest,), rows in copies.items():
            yield from _tables_of_copy(name, rows, copy=f"{digest}"[:8] if len(copies) > 1 else None)


def _tables_of_copy(name: str, rows: Sequence[Row], *, copy: str | None) -> Iterator[PeopleTable]:
    """Tables of one copy of a set, by attribute and false match rate.

    Args:
        name: Name of the set.
        rows: Its rows, all measured on this copy.
        copy: First digits of the digest of the copy; None if the set has only one.
    """
    kinds: dict[tuple[str, str], None] = {}
    for row in rows:
        for attribute, by_fmr in row.card.group_errors[name].attributes.items():
            for fmr in by_fmr:
                if all(card.group_errors[name].attributes.get(attribute, {}).get(fmr) for card in row.cards):
                    kinds[attribute, fmr] = None
    for attribute, fmr in kinds:
        yield _group_table(name, attribute, fmr, rows, copy)


def _group_table(name: str, attribute: str, fmr: str, rows: Sequence[Row], copy: str | None) -> PeopleTable:
    """One attribute at one false match rate; within a division the rows with the smallest GARBE first."""

    def errors_of(card: ResultCard) -> GroupErrors | None:
        return card.group_errors[name].attributes.get(attribute, {}).get(fmr)

    measured = [(row, [errors_of(card) for card in row.cards]) for row in rows]
    complete = [(row, [each for each in seeds if each is not None]) for row, seeds in measured if None not in seeds]
    complete.sort(key=lambda entry: (DIVISIONS.index(entry[0].division), _mean_measure(entry[1], "garbe") or 0))
    first = complete[0][1][0]
    groups = [group.group for group in first.groups]
    header = ["row", "division", "seeds", "GARBE", "shuffled GARBE", "p", *(f"FNMR {group}" for group in groups)]
    header += [*(f"FMR {group}" for group in groups), *_MEASURES.values()]
    cells = [header]
    marks = number_notes([row for row, _ in complete])
    for row, seeds in complete:
        garbe = seeds[0].measures["garbe"]
        cells.append(
            [
                label_cell(row, marks),
                division_title(row),
                seeds_cell(row),
                _measure_cell(seeds, "garbe"),
                format_interval(garbe.null),
                ABSENT if garbe.p_value is None else f"{garbe.p_value:.3f}",
                *(format_percent(fmean(each.groups[i].fnmr for each in seeds)) for i in range(len(groups))),
                *(f"{100 * fmean(each.groups[i].fmr for each in seeds):.3g}" for i in range(len(groups))),
                *(_measure_cell(seeds, measure) for measure in _MEASURES),
            ]
        )
    return PeopleTable(
        f"groups_{name}_{attribute}_{fmr}" + (f"_{copy}" if copy else ""),
        f"Errors by {attribute}: {protocol_title(name)}{f' (copy {copy})' if copy else ''}, FMR {fmr}",
        f"FNMR and FMR in per cent at one threshold for all groups, set at FMR {fmr} by {first.threshold_from}; every "
        "face is compared with every other of its group. Brackets hold the 95 % interval (bootstrap over people, "
        "threshold chosen anew). Shuffled GARBE is the middle 95 % of GARBE with the group labels of the people "
        "shuffled, p the share of shuffles at least as unequal. The figures show the first row.",
        cells,
        tuple(row for row, _ in complete),
        [
            ("FNMR by group", group_rates_plot(first, "fnmr", f"FNMR by {attribute}")),
            ("FMR by group", group_rates_plot(first, "fmr", f"FMR by {attribute}")),
            ("DET by group", group_det_plot(first, f"DET by {attribute}")),
        ],
        legend(groups),
    )


def _identification_tables(results: Sequence[Result]) -> Iterator[PeopleTable]:
    for name, rows in _rows_by_set(results, lambda card: card.identification).items():
        yield _identification_table(name, rows)


def _identification_table(name: str, rows: Sequence[Row]) -> PeopleTable:
    """Rank and open-set rates; within a division the rows with the highest rank-1 rate first."""

    def rank(row: Row, rank: int) -> float:
        return fmean(card.identification[name].rank[str(rank)] for card in row.cards)

    by_rate = sorted(rows, key=lambda row: (DIVISIONS.index(row.division), -rank(row, 1), row.label))
    ordered = note_other_copies(by_rate)
    header = ["row", "division", "seeds", *(f"rank {each}" for each in RANKS), *(f"TPIR at FPIR {f}" for f in FPIRS)]
    cells = [[*header, "enrolled", "mated searches", "non-mated searches"]]
    marks = number_notes(ordered)
    for row in ordered:
        rates = [[card.identification[name].tpir_at_fpir[fpir] for card in row.cards] for fpir in FPIRS]
        galleries = row.card.identification[name].galleries.values()
        counts = [" + ".join(format_count(getattr(each, field)) for each in galleries)
                  for field in ("num_enrolled", "num_mated", "num_non_mated")]  # fmt: skip
        cells.append(
            [
                label_cell(row, marks),
                division_title(row),
                seeds_cell(row),
                *(format_percent(rank(row, each)) for each in RANKS),
                *(_mean_cell(values) for values in rates),
                *counts,
            ]
        )
    firsts = {row.label: next(iter(row.card.identification[name].galleries.values())) for row in ordered}
    figures = [("CMC", cmc_plot(firsts, "CMC"))]
    open_set = tpir_plot(firsts, "TPIR against FPIR")
    return PeopleTable(
        f"identification_{name}",
        f"Identification: {protocol_title(name)}",
        "Rank k is the share of mated searches whose person is among the first k candidates, in per cent; ties count "
        "against the person. TPIR at FPIR is the share whose person is the first candidate at the threshold that lets "
        "that share of the non-mated searches return anybody (ISO/IEC 19795-1). Several galleries are searched one by "
        "one. The figures show the first gallery.",
        cells,
        tuple(ordered),
        [*figures, *([("TPIR against FPIR", open_set)] if open_set else [])],
        legend(list(firsts)),
    )


def _rows_by_set(
    results: Iterable[Result], sets_of: Callable[[ResultCard], Mapping[str, object]]
) -> dict[str, list[Row]]:
    """Name of each set -> its rows."""
    closed, references = closed_and_references()
    seeds_by_set: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        for name in sets_of(result.card):
            seeds_by_set.setdefault(name, {}).setdefault(row_key(result, (name,)), []).append(result)
    return {
        name: [make_row((name,), seeds, closed=closed, references=references) for seeds in by_key.values()]
        for name, by_key in sorted(seeds_by_set.items())
    }


def _mean_measure(seeds: Sequence[GroupErrors], name: str) -> float | None:
    values = [each.measures[name].value for each in seeds]
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _measure_cell(seeds: Sequence[GroupErrors], name: str) -> str:
    value = _mean_measure(seeds, name)
    measure: FairnessMeasure = seeds[0].measures[name]
    return ABSENT if value is None else f"{value:.3f} {format_interval(measure.interval)}"


def format_interval(interval: Interval) -> str:
    """Both ends in brackets; an end without a bound is a dash."""
    return "[" + ", ".join(ABSENT if end is None else f"{end:.3f}" for end in interval) + "]"


def _mean_cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return format_percent(fmean(known)) if len(known) == len(values) else ABSENT
