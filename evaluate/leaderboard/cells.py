"""Rows of the leaderboard -> printed text: its columns and what stands in each, in Markdown and HTML alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluate.leaderboard.published import PublishedRow
from evaluate.leaderboard.rows import FIVE, Estimate, Row, protocol_title
from evaluate.leaderboard.tables import Table

ABSENT = "-"
HOW_TO_READ = (
    "**Accuracies** in per cent, published 10-fold protocol. One seed: ± is the standard error over pairs; "
    "several seeds (n): mean ± standard deviation over them. "
    "**Gap to real**: REAL - SYN in points (GtR of CemiFace), where REAL is the row on photographs (rendered "
    "protocols: on rendered faces) trained by the same recipe; DCFace prints (REAL - SYN) / SYN, VariFace SYN - REAL. "
    "**Floor gap**: mean less that of the best row without any training. "
    "**Borda**: rank in its division; a point for every row beaten on a protocol, half for a tie. "
    "**Closed** division: the recipe is that of benchmarks.yaml, by name and hash, so that only the dataset differs; "
    "**open**: any other recipe. "
    "**Spread over groups**: sample standard deviation of the accuracies on RFW's four groups. "
    "**Hours**: all stages, times processes. A star on a commit: tracked files were changed."
)


@dataclass(frozen=True)
class Column:
    """One column: what it is called in ``row_cells``, its heading, and how a page draws it."""

    key: str
    title: str
    kind: Literal["label", "text", "mean", "accuracy", "interval", "code"] = "text"
    where: Literal["both", "html", "markdown"] = "both"
    """The page writes division and recipe over each group of rows; Markdown has no figures in its cells."""


def table_columns(table: Table) -> list[Column]:
    """Columns of a table; those that no row has anything for are left out."""
    rows = table.rows
    has_reference = any(table.reference(row) for row in rows)
    has_floor = table.best_floor is not None and not all(row.is_floor for row in rows)
    columns = [
        Column("label", "row", "label"),
        Column("division", "division", where="markdown"),
        Column("seeds", "seeds"),
        Column("mean", "mean" if len(table.core) > 1 else protocol_title(table.core[0]), "mean"),
        Column("interval", "95 % interval", "interval", where="html"),
        Column("spread", "spread over groups") if rows[0].group_spread else None,
        Column("real_gap", "gap to real") if has_reference else None,
        Column("floor_gap", "floor gap") if has_floor else None,
        Column("borda", "Borda") if len(table.borda_ranks) > 1 else None,
        *(Column(name, protocol_title(name), "accuracy") for name in table.core if len(table.core) > 1),
        *(Column(name, f"({protocol_title(name)})", "accuracy") for name in table.extras),
        Column("images", "images"),
        Column("identities", "identities"),
        Column("hours", "hours"),
        Column("price", "price") if any(row.price is not None for row in rows) else None,
        Column("rate", "train images/s"),
        Column("recipe", "recipe", where="both" if any(row.division == "open" for row in rows) else "markdown"),
        Column("commit", "commit", "code"),
    ]
    if not any(row.card.dataset for row in rows):
        columns = [one for one in columns if one and one.key not in ("images", "identities", "rate", "recipe")]
    return [one for one in columns if one is not None]


def row_cells(table: Table, position: int) -> dict[str, str]:
    """What is printed of a row, by column key; absent things are a dash."""
    row = table.rows[position]
    dataset = row.card.dataset or {}
    hours, rate = row.device_hours, row.rate("train")
    has = {name: name in row.core or name in row.extras for name in (*table.core, *table.extras)}
    return {
        "label": row.label,
        "division": division_title(row),
        "seeds": seeds_cell(row),
        "mean": format_estimate(row.mean),
        "spread": spread_cell(row),
        "real_gap": "REAL" if row.is_reference else points(table.gap_to_real(row)),
        "floor_gap": points(table.gap_to_floor(row)),
        "borda": str(table.borda_ranks.get(position, ABSENT)),
        **{name: format_estimate(row.protocol(name)) if has[name] else ABSENT for name in has},
        "images": count(dataset.get("num_images")),
        "identities": count(dataset.get("num_identities")),
        "hours": ABSENT if hours is None or row.is_floor else f"{hours:.3g} {row.device}",
        "price": ABSENT if row.price is None or row.is_floor else f"{row.price:.2f}",
        "rate": ABSENT if rate is None else f"{rate:,.0f}",
        "recipe": row.recipe or ABSENT,
        "commit": row.commit,
    }


def division_title(row: Row) -> str:
    """The division in words."""
    return {"given": "given weights"}.get(row.division, row.division)


def seeds_cell(row: Row) -> str:
    """The seed, or how many; a floor has none."""
    return ABSENT if row.is_floor else f"n={len(row.results)}" if len(row.results) > 1 else str(row.card.seed)


def spread_cell(row: Row) -> str:
    """Standard deviation over groups of people, in points, with its own over seeds."""
    if row.group_spread is None:
        return ABSENT
    value, over_seeds = row.group_spread
    return percent(value) + ("" if over_seeds is None else f" ± {percent(over_seeds)}")


def table_cells(table: Table) -> list[list[str]]:
    """Header and rows of a table as text, without the drawn interval."""
    columns = [column for column in table_columns(table) if column.where != "html"]
    marks = {note: mark for mark, note in footnotes(table).items()}
    lines = [[column.title for column in columns]]
    for position, row in enumerate(table.rows):
        cells = row_cells(table, position)
        cells["label"] = " ".join([row.label, *(f"[{marks[note]}]" for note in row.notes)])
        lines.append([cells[column.key] for column in columns])
    return lines


def published_note(published: Sequence[PublishedRow]) -> str:
    """What to know before reading published rows."""
    num_wrong = sum(row.misprint is not None for row in published)
    return (
        "Printed by their authors, not measured here; recipes differ from row to row, and the recipe alone moves the "
        "mean by points. Gap to real: REAL - SYN in points, where a source gives CASIA-WebFace by the same recipe. "
        f"Marked (!): {num_wrong} rows with a misprint, in their source or in wide circulation."
    )


def published_cells(published: Sequence[PublishedRow]) -> list[list[str]]:
    """Header and published rows as text."""
    head = ["dataset", "generator", "year", "mean", "gap to real", *map(protocol_title, FIVE)]
    lines = [[*head, "images", "identities", "recipe", "source"]]
    for row in published:
        mean = printed(row.mean) + (f" (!) {row.misprint}" if row.misprint else "")
        accuracies = [printed(row.accuracies[name]) for name in FIVE]
        gap = ABSENT if row.gap_to_real is None else f"{row.gap_to_real:.2f}"
        facts = [count(row.num_images), count(row.num_identities), row.recipe or ABSENT, row.source]
        lines.append([row.dataset, row.generator, str(row.year or ABSENT), mean, gap, *accuracies, *facts])
    return lines


def footnotes(table: Table) -> dict[str, str]:
    """Mark -> note, for all notes of a table's rows."""
    notes = dict.fromkeys(note for row in table.rows for note in row.notes)
    return {str(number): note for number, note in enumerate(notes, start=1)}


def format_estimate(estimate: Estimate) -> str:
    """A fraction with its uncertainty, in per cent."""
    return f"{percent(estimate.value)} ± {percent(estimate.spread)}"


def points(value: float | None) -> str:
    """A difference of two fractions, in points."""
    return ABSENT if value is None else f"{100 * value:+.2f}"


def percent(value: float) -> str:
    """A fraction in per cent."""
    return f"{100 * value:.2f}"


def fraction(value: float | None) -> str:
    """A fraction to four digits."""
    return ABSENT if value is None else f"{value:.4f}"


def printed(value: float | None) -> str:
    """A figure that is in per cent already."""
    return ABSENT if value is None else f"{value:.2f}"


def count(value: int | None) -> str:
    """A whole number with thousands."""
    return ABSENT if value is None else f"{value:,}"
