"""Tables -> printed text: the columns of a table and the text of each cell, for Markdown and for HTML alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluate.leaderboard.estimates import (
    Estimate,
    device_kind,
    mean_device_hours,
    mean_images_per_second,
    mean_price,
    spread_over_groups,
)
from evaluate.leaderboard.protocol_names import FIVE, protocol_title
from evaluate.leaderboard.published import PublishedRow
from evaluate.leaderboard.rows import Row, number_notes
from evaluate.leaderboard.tables import FoldedSweep, Table
from evaluate.leaderboard.template_tables import RANKING_FAR, Rate, TemplateTable
from evaluate.metrics import FARS
from evaluate.test_sets.registry import RFW

ABSENT = "-"
HOW_TO_READ = {
    "Accuracies": "are in per cent, by the published 10-fold protocol, means over the seeds. ± is the standard error "
    "over the test pairs; the seeds share these pairs.",
    "Seeds": "is how many seeds were run. Std over seeds is the sample standard deviation of the mean accuracy over "
    "them.",
    "Closed division": "means that the recipe is a released one, by name and hash: only the dataset differs.",
    "Copies": "of a test set can differ in their bytes. Gaps, ranks and differences compare rows that were measured "
    "on the same files.",
    "Open division": "means any other recipe.",
    "Gap to real": "is REAL - SYN in points (the GtR of CemiFace). REAL is the row trained on photographs by the same "
    "recipe, and for rendered protocols the row trained on rendered faces. DCFace prints (REAL - SYN) / SYN, and "
    "VariFace SYN - REAL.",
    "Floor gap": "is the mean minus that of the best row without any training, in points.",
    "Borda": "is the rank within the division, in the closed division among rows of one recipe. A row gets a point for "
    "every row that it beats on a protocol, and half a point for a tie.",
    "Spread over groups": "is the sample standard deviation of the accuracies on the four groups of RFW.",
    "Hours": "are those of all stages, times the number of processes.",
    "Commit": "is that of the code; a star means that tracked files were changed.",
}
"""Term -> its definition, as the rest of a sentence."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    key: str
    """Key in ``row_cells``."""
    title: str
    kind: Literal["label", "text", "mean", "accuracy", "interval", "code"] = "text"
    """How the page draws its cells."""
    shown_in: Literal["both", "html", "markdown"] = "both"
    """The page has division and recipe as headings of groups; Markdown has no figures in its cells."""


def table_columns(table: Table) -> list[Column]:
    """Columns of a table, without those that are empty in every row."""
    rows, has_mean = table.rows, len(table.core) > 1
    columns = [
        Column("label", "row", "label"),
        Column("division", "division", shown_in="markdown"),
        Column("seeds", "seeds"),
        Column("mean", "mean" if has_mean else protocol_title(table.core[0]), "mean"),
    ]
    if any(len(row.results) > 1 for row in rows):
        columns.append(Column("seed_std", "std over seeds"))
    columns.append(Column("interval", "95 % interval", "interval", shown_in="html"))
    if table.core == RFW:
        columns.append(Column("spread", "spread over groups"))
    if any(table.reference(row) for row in rows):
        columns.append(Column("real_gap", "gap to real"))
    if any(table.gap_to_floor(row) is not None for row in rows):
        columns.append(Column("floor_gap", "floor gap"))
    if len(table.borda_ranks) > 1:
        columns.append(Column("borda", "Borda"))
    if has_mean:
        columns += [Column(name, protocol_title(name), "accuracy") for name in table.core]
    columns += [Column(name, f"({protocol_title(name)})", "accuracy") for name in table.extras]
    has_datasets = any(row.card.dataset for row in rows)
    if has_datasets:
        columns += [Column("images", "images"), Column("identities", "identities")]
    if any(row.composition for row in rows):
        columns.append(Column("composition", "composition"))
    columns.append(Column("hours", "hours"))
    if any(mean_price(row.cards) is not None for row in rows):
        columns.append(Column("price", "price"))
    if has_datasets:
        columns.append(Column("rate", "train images/s"))
        has_own_recipes = any(row.division == "open" for row in rows)
        columns.append(Column("recipe", "recipe", shown_in="both" if has_own_recipes else "markdown"))
    columns.append(Column("commit", "commit", "code"))
    return columns


def row_cells(table: Table, position: int) -> dict[str, str]:
    """Text of a row's cells, by key of the column; a dash where there is nothing.

    Args:
        table: The table.
        position: Position of the row in it.
    """
    row = table.rows[position]
    hours, price, rate = mean_device_hours(row.cards), mean_price(row.cards), mean_images_per_second(row.cards, "train")
    measured = {*row.core, *row.extras}
    accuracies = {
        name: format_estimate(row.accuracy(name)) if name in measured else ABSENT
        for name in (*table.core, *table.extras)
    }
    return {
        "label": row.label,
        "division": division_title(row),
        "seeds": seeds_cell(row),
        "mean": format_estimate(row.mean),
        "seed_std": ABSENT if row.mean.seed_std is None else format_percent(row.mean.seed_std),
        "spread": _spread_cell(row),
        "real_gap": "REAL" if row.is_reference else format_points(table.gap_to_real(row)),
        "floor_gap": format_points(table.gap_to_floor(row)),
        "borda": str(table.borda_ranks.get(position, ABSENT)),
        **accuracies,
        "images": format_count(row.num_images),
        "identities": format_count(row.num_identities),
        "composition": row.composition or ABSENT,
        "hours": ABSENT if hours is None or row.is_floor else f"{hours:.3g} {device_kind(row.card)}",
        "price": ABSENT if price is None or row.is_floor else f"{price:.2f}",
        "rate": ABSENT if rate is None else f"{rate:,.0f}",
        "recipe": row.recipe_name or ABSENT,
        "commit": row.commit,
    }


def sweep_cells(sweep: FoldedSweep) -> dict[str, str]:
    """Text of the one line of a sweep, by key of the column: how many settings, and the range of their means."""
    low, high = sweep.means
    return {
        "label": f"sweep {sweep.name}: {len(sweep.table.rows)} settings",
        "mean": f"{format_percent(low)} to {format_percent(high)}",
    }


def division_title(row: Row) -> str:
    """Name of the row's division in a cell."""
    return "given weights" if row.division == "given" else row.division


def seeds_cell(row: Row) -> str:
    """Number of seeds; a floor has none."""
    return ABSENT if row.is_floor else str(len(row.results))


def label_cell(row: Row, marks: dict[str, str]) -> str:
    """Name of the row with the marks of its footnotes, in Markdown."""
    return " ".join([row.label, *(f"[{marks[note]}]" for note in row.notes)])


def table_cells(table: Table) -> list[list[str]]:
    """Header and rows of a table as text, for Markdown."""
    columns = [column for column in table_columns(table) if column.shown_in != "html"]
    marks = number_notes(table.rows)
    lines = [[column.title for column in columns]]
    for position, row in enumerate(table.rows):
        cells = row_cells(table, position) | {"label": label_cell(row, marks)}
        lines.append([cells[column.key] for column in columns])
    return lines


def template_cells(table: TemplateTable) -> list[list[str]]:
    """Header and rows of a table of templates as text; rates in per cent."""
    marks = number_notes(table.rows)
    has_seeds = any(len(row.results) > 1 for row in table.rows)
    std_title = [f"std over seeds at {RANKING_FAR}"] if has_seeds else []
    header = ["row", "division", "seeds", *FARS, *std_title, "genuine pairs", "impostor pairs", "templates", "commit"]
    lines = [header]
    for row in table.rows:
        first = table.results(row)[0]
        std = table.seed_std(row, RANKING_FAR) if has_seeds else None
        counts = (first.num_pairs - first.num_impostors, first.num_impostors, first.num_templates)
        lines.append(
            [
                label_cell(row, marks),
                division_title(row),
                seeds_cell(row),
                *(_rate_cell(table.rate(row, far)) for far in FARS),
                *([ABSENT if std is None else format_percent(std)] if has_seeds else []),
                *map(format_count, counts),
                row.commit,
            ]
        )
    return lines


def published_note(published: Sequence[PublishedRow]) -> str:
    """The paragraph above the published rows: who measured them, and what their marks mean."""
    num_misprints = sum(row.misprint is not None for row in published)
    return (
        "These numbers were printed by their authors and not measured here. Recipes differ from row to row, and the "
        "recipe alone moves the mean by points. Gap to real is REAL - SYN in points, if a source gives CASIA-WebFace "
        f"by the same recipe. {num_misprints} rows are marked (!): their source, or a table that quotes them, has a "
        "misprint."
    )


def published_cells(row: PublishedRow) -> dict[str, str]:
    """Title of the column -> text of a published row; its misprint is left to the caller."""
    accuracies = {protocol_title(name): format_printed(row.accuracies[name]) for name in FIVE}
    return {
        "dataset": row.dataset,
        "generator": row.generator,
        "year": str(row.year or ABSENT),
        "mean": format_printed(row.mean),
        "gap to real": format_printed(row.gap_to_real),
        **accuracies,
        "images": format_count(row.num_images),
        "identities": format_count(row.num_identities),
        "recipe": row.recipe or ABSENT,
        "source": row.source,
    }


def format_estimate(estimate: Estimate) -> str:
    """A fraction with its uncertainty, in per cent."""
    return f"{format_percent(estimate.value)} ± {format_percent(estimate.standard_error)}"


def format_points(difference: float | None) -> str:
    """A difference of two fractions in per cent points, with its sign."""
    return ABSENT if difference is None else f"{100 * difference:+.2f}"


def format_percent(fraction: float) -> str:
    """A fraction in per cent, without the sign of per cent."""
    return f"{100 * fraction:.2f}"


def format_fraction(fraction: float | None) -> str:
    """A fraction with four digits."""
    return ABSENT if fraction is None else f"{fraction:.4f}"


def format_printed(per_cent: float | None) -> str:
    """A number of a paper, which is in per cent already."""
    return ABSENT if per_cent is None else f"{per_cent:.2f}"


def format_count(number: int | None) -> str:
    """A whole number with thousands separators."""
    return ABSENT if number is None else f"{number:,}"


def _spread_cell(row: Row) -> str:
    if row.core != RFW:
        return ABSENT
    value, over_seeds = spread_over_groups(row.cards)
    return format_percent(value) + ("" if over_seeds is None else f" ± {format_percent(over_seeds)}")


def _rate_cell(rate: Rate | None) -> str:
    return ABSENT if rate is None else f"{format_percent(rate.value)} ± {format_percent(rate.standard_error)}"
