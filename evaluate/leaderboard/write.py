"""Results -> the leaderboard as Markdown, CSV and one HTML page.

Equal cards give equal bytes. The last step of every benchmark calls this module, so neither it nor what it imports may
import torch, mlflow, pandas or matplotlib.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bench.files import write_text
from bench.machine.progress import note
from bench.markdown import markdown_table
from bench.runs.cards import ProtocolResult, ResultCard, read_card
from evaluate.leaderboard.cells import (
    HOW_TO_READ,
    format_percent,
    published_cells,
    published_note,
    sweep_cells,
    table_cells,
    template_cells,
)
from evaluate.leaderboard.estimates import (
    Estimate,
    device_kind,
    mean_device_hours,
    mean_images_per_second,
    mean_price,
    spread_over_groups,
)
from evaluate.leaderboard.page import render_leaderboard
from evaluate.leaderboard.people_tables import PeopleTable, make_people_tables
from evaluate.leaderboard.protocol_names import protocol_title
from evaluate.leaderboard.published import PublishedRow, read_published
from evaluate.leaderboard.read import Result, read_committed, read_local
from evaluate.leaderboard.rows import Row, number_notes
from evaluate.leaderboard.tables import Table, make_tables
from evaluate.leaderboard.template_tables import TemplateTable, make_template_tables
from evaluate.metrics import FARS
from evaluate.test_sets.registry import RFW

PUBLISHED_PATH = Path(__file__).parent.parent.parent / "reports" / "published.csv"
_CSV_COLUMNS = (
    *("table", "kind", "division", "name", "scale", "seeds", "protocol"),
    *("accuracy", "standard_error", "std_over_seeds", "interval_low", "interval_high", "spread_over_groups"),
    *("real_reference", "gap_to_real", "gap_to_real_relative", "gap_to_floor"),
    *("exact_accuracy", "auc", "eer", "d_prime"),
    *(f"tar_at_far_{far}" for far in FARS),
    *("num_pairs", "test_set_sha256"),
    *("num_images", "num_identities", "composition", "device_hours", "device", "price", "train_images_per_second"),
    *("recipe", "recipe_sha256", "commit", "command"),
)


def write_leaderboard(runs: Path) -> Path:
    """Render ``leaderboard.md``, ``.csv`` and ``.html`` in ``runs`` from every result there.

    A result that cannot be read, or contradicts itself or its scores, is named there and on stderr.

    Returns:
        The HTML file.
    """
    broken: dict[Path, str] = {}
    return _write(runs, read_local(runs, broken), PUBLISHED_PATH, broken)


def write_committed_leaderboard(reports: Path) -> Path:
    """Render ``reports/leaderboard.*`` from ``reports/results/*.json`` and ``reports/published.csv``.

    A result that cannot be read, or contradicts itself or its scores, is named there and on stderr.

    Returns:
        The HTML file.
    """
    broken: dict[Path, str] = {}
    return _write(reports, read_committed(reports, broken), reports / "published.csv", broken)


def describe_results(result_dirs: Sequence[Path], page: Path) -> str:
    """Finished results for the terminal: their rows, and the paths of their cards and of the leaderboard's page.

    Args:
        result_dirs: Folders of a result.json each, with the same protocols.
        page: The leaderboard as HTML.
    """
    cards = [read_card(directory, ResultCard) for directory in result_dirs]
    rows = format_row(cards[0]).splitlines()
    for card in cards[1:]:
        rows.append(format_row(card).splitlines()[1])
    lines = ["", *rows, ""]
    means = [card.mean_accuracy for card in cards if card.mean_accuracy is not None]
    if len(means) > 1:
        lines += [f"mean of {len(means)} seeds {format_percent(fmean(means))}, std {format_percent(stdev(means))}", ""]
    return "\n".join(
        [*lines, *(f"result       {path / 'result.json'}" for path in result_dirs), f"report       {page}"]
    )


def format_row(card: ResultCard) -> str:
    """A result for the terminal, in per cent: a line of column names above a line of numbers."""
    columns = [("name", card.name), ("seed", str(card.seed))]
    if card.mean_accuracy is not None and card.mean_standard_error is not None:
        mean = f"{format_percent(card.mean_accuracy)} ± {format_percent(card.mean_standard_error)}"
        columns.append(("mean", mean))
    for name, protocol in card.protocols.items():
        columns.append((protocol_title(name), format_percent(protocol.accuracy)))
    for name, template in card.templates.items():
        for far, tar in template.tar_at_far.items():
            if tar is not None:
                columns.append((f"{protocol_title(name)} at {far}", format_percent(tar)))
    for name, searched in card.identification.items():
        columns.append((f"{protocol_title(name)} rank 1", format_percent(searched.rank["1"])))
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for texts in zip(*columns, strict=True):
        lines.append("  ".join(text.rjust(width) for text, width in zip(texts, widths, strict=True)))
    return "\n".join(lines)


def _write(directory: Path, results: Sequence[Result], published_path: Path, broken: Mapping[Path, str]) -> Path:
    tables, templates, people = make_tables(results), make_template_tables(results), make_people_tables(results)
    published = read_published(published_path) if published_path.exists() else []
    not_shown = {str(path.relative_to(directory)): problem for path, problem in broken.items()}
    for path, problem in broken.items():
        note(f"warning: {path} is not shown in the leaderboard: {problem}")
    write_text(directory / "leaderboard.md", _markdown(tables, templates, people, published, not_shown))
    write_text(directory / "leaderboard.csv", _csv(tables, templates))
    page = render_leaderboard(tables, templates, people, published, not_shown)
    write_text(directory / "leaderboard.html", page)
    return directory / "leaderboard.html"


def _markdown(
    tables: Sequence[Table],
    templates: Sequence[TemplateTable],
    people: Sequence[PeopleTable],
    published: Sequence[PublishedRow],
    not_shown: Mapping[str, str],
) -> str:
    lines = ["# Leaderboard", "", *(f"- **{term}** {definition}" for term, definition in HOW_TO_READ.items()), ""]
    if not tables and not templates and not people:
        lines += ["No results yet: run `make benchmark`.", ""]
    if not_shown:
        lines += ["## Results that are not shown", ""]
        lines += [*(f"- {_escape(path)}: {_escape(problem)}" for path, problem in not_shown.items()), ""]
    for table in tables:
        lines += [
            f"## {_escape(table.title)}",
            "",
            _markdown_table(table_cells(table)),
            "",
            *_below_table(table.rows),
            *_sweep_lines(table),
            "",
        ]
    for template in templates:
        cells = template_cells(template)
        lines += [f"## {_escape(template.title)}", "", _markdown_table(cells), "", *_below_table(template.rows), ""]
    for group in people:
        lines += [f"## {_escape(group.title)}", "", group.note, "", _markdown_table(group.cells), ""]
        lines += [*_below_table(group.rows), ""]
    if published:
        table_of_papers = _markdown_table(_published_table(published))
        lines += ["## Published", "", published_note(published), "", table_of_papers, ""]
    return "\n".join(lines)


def _published_table(published: Sequence[PublishedRow]) -> list[list[str]]:
    rows = []
    for row in published:
        cells = published_cells(row)
        if row.misprint:
            cells["mean"] += f" (!) {row.misprint}"
        rows.append(cells)
    return [list(rows[0]), *(list(cells.values()) for cells in rows)]


def _below_table(rows: Sequence[Row]) -> Iterator[str]:
    """The footnotes of a table, and the command behind every result."""
    yield from (f"- [{mark}] {_escape(text)}" for text, mark in number_notes(rows).items())
    for row in rows:
        for card in [] if row.is_floor else row.cards:
            command = " ".join(card.command.replace("`", "'").split())
            yield f"- {_escape(row.label)}, seed {card.seed}: `{command}`"


def _sweep_lines(table: Table) -> Iterator[str]:
    """A line for each sweep: its settings are on its own page."""
    for sweep in table.sweeps:
        cells = sweep_cells(sweep)
        yield f"- [{_escape(cells['label'])}]({sweep.page}), mean {cells['mean']}"


def _markdown_table(cells: Sequence[Sequence[str]]) -> str:
    """Markdown of a table whose first two columns hold text and whose other columns hold numbers.

    Args:
        cells: Header and rows.
    """
    header, *rows = [[_escape(cell) for cell in row] for row in cells]
    return markdown_table(header, rows, align=[":--", ":--", *["--:"] * (len(header) - 2)])


def _escape(text: str) -> str:
    """Text without HTML, code spans and links: names of results come from users.

    Footnote marks at its end, such as ``[1] [2]``, stay.
    """
    text = " ".join(text.replace("<", "&lt;").replace("`", "'").replace("\\", "\\\\").split())
    return re.sub(r"\[(?!\d+\](?: \[\d+\])*$)", r"\\[", text)


def _csv(tables: Sequence[Table], templates: Sequence[TemplateTable]) -> str:
    """One line per row and protocol, and one for the row's mean; accuracies, rates and gaps are fractions."""
    with_sweeps = [each for table in tables for each in (table, *(sweep.table for sweep in table.sweeps))]
    lines = [line for table in with_sweeps for row in table.rows for line in _csv_lines(table, row)]
    lines += [_csv_template_line(table, row) for table in templates for row in table.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _csv_lines(table: Table, row: Row) -> Iterator[dict[str, Any]]:
    shared = {"table": table.key} | _csv_shared(row)
    for name in (*row.core, *row.extras):
        accuracy = _csv_estimate(row.accuracy(name))
        yield shared | {"protocol": name} | accuracy | _csv_protocol(row.card.protocols[name])
    reference, gap = table.reference(row), table.gap_to_real(row)
    gaps = {
        "real_reference": reference.label if reference else None,
        "gap_to_real": gap,
        "gap_to_real_relative": None if gap is None else gap / row.mean.value,
        "gap_to_floor": table.gap_to_floor(row),
        "spread_over_groups": spread_over_groups(row.cards)[0] if row.core == RFW else None,
    }
    yield shared | {"protocol": f"mean of {table.key}"} | _csv_estimate(row.mean) | gaps


def _csv_template_line(table: TemplateTable, row: Row) -> dict[str, Any]:
    """Rates are means over the seeds; the other numbers are those of the first seed."""
    rates = {f"tar_at_far_{far}": rate.value for far in FARS if (rate := table.rate(row, far)) is not None}
    first = table.results(row)[0]
    figures = {"auc": first.auc, "eer": first.eer, "num_pairs": first.num_pairs, "test_set_sha256": first.sha256}
    return {"table": table.name, "protocol": table.name} | _csv_shared(row) | rates | figures


def _csv_shared(row: Row) -> dict[str, Any]:
    """The columns that all lines of a row share."""
    card = row.card
    return {
        "kind": card.row,
        "division": row.division,
        "name": row.label,
        "scale": card.scale,
        "seeds": " ".join(str(seed.seed) for seed in row.cards),
        "num_images": row.num_images,
        "num_identities": row.num_identities,
        "composition": row.composition,
        "device_hours": mean_device_hours(row.cards),
        "device": device_kind(card),
        "price": mean_price(row.cards),
        "train_images_per_second": mean_images_per_second(row.cards, "train"),
        "recipe": row.recipe_name or None,
        "recipe_sha256": row.recipe_sha256,
        "commit": row.commit,
        "command": card.command,
    }


def _csv_estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "accuracy": estimate.value,
        "standard_error": estimate.standard_error,
        "std_over_seeds": estimate.seed_std,
        "interval_low": estimate.low,
        "interval_high": estimate.high,
    }


def _csv_protocol(protocol: ProtocolResult) -> dict[str, Any]:
    """The numbers that the CSV gives of the first seed only."""
    rates = {f"tar_at_far_{far}": tar for far, tar in protocol.tar_at_far.items() if far in FARS}
    return rates | {
        "exact_accuracy": protocol.exact_accuracy,
        "auc": protocol.auc,
        "eer": protocol.eer,
        "d_prime": protocol.d_prime,
        "num_pairs": protocol.num_pairs,
        "test_set_sha256": protocol.sha256,
    }
