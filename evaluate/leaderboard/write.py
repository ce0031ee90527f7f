"""Result cards -> leaderboard: Markdown, CSV and one HTML page.

Rows come from ``rows.py``, figures from the scores beside the cards. Imports neither torch nor mlflow: the end of a
benchmark that has nothing to do must take seconds. The same cards give the same bytes.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.files import write_text
from bench.runs.cards import ProtocolResult, ResultCard
from evaluate.leaderboard.cells import HOW_TO_READ, footnotes, percent, published_cells, published_note, table_cells
from evaluate.leaderboard.page import render_html
from evaluate.leaderboard.published import PublishedRow, read_published
from evaluate.leaderboard.rows import Estimate, Result, Row, protocol_title, read_committed, read_local
from evaluate.leaderboard.tables import Table, make_tables
from evaluate.leaderboard.template_tables import TemplateTable, make_template_tables, template_cells
from evaluate.metrics import FARS

PUBLISHED_PATH = Path(__file__).parent.parent.parent / "reports" / "published.csv"
_CSV_COLUMNS = (
    *("table", "kind", "division", "name", "scale", "seeds", "protocol"),
    *("accuracy", "uncertainty", "uncertainty_is", "interval_low", "interval_high", "spread_over_groups"),
    *("real_reference", "gap_to_real", "gap_to_real_relative", "gap_to_floor"),
    *(
        "exact_accuracy",
        "auc",
        "eer",
        "d_prime",
        *(f"tar_at_far_{far}" for far in FARS),
        "num_pairs",
        "test_set_sha256",
    ),
    *("num_images", "num_identities", "device_hours", "device", "price", "train_images_per_second"),
    *("recipe", "recipe_sha256", "commit", "command"),
)


def write_leaderboard(runs: Path) -> Path:
    """Render ``leaderboard.md``, ``.csv`` and ``.html`` of every result in ``runs``; returns the HTML file.

    Raises:
        InputError: If a card does not fit the schema or contradicts itself.
    """
    return _write(runs, read_local(runs), PUBLISHED_PATH)


def write_committed_leaderboard(reports: Path) -> Path:
    """Render ``reports/leaderboard.*`` from ``reports/results/*.json`` and ``reports/published.csv``."""
    return _write(reports, read_committed(reports), reports / "published.csv")


def format_row(result: ResultCard) -> str:
    """A result for the terminal, in per cent: a line of column names and a line of numbers."""
    cells = [("name", result.name), ("seed", str(result.seed))]
    if result.mean_accuracy is not None and result.mean_standard_error is not None:
        cells.append(("mean", f"{percent(result.mean_accuracy)} ± {percent(result.mean_standard_error)}"))
    cells += [(protocol_title(name), percent(one.accuracy)) for name, one in result.protocols.items()]
    for name, one in result.templates.items():
        rates = [(far, tar) for far, tar in one.tar_at_far.items() if tar is not None]
        cells += [(f"{protocol_title(name)} at {far}", percent(tar)) for far, tar in rates]
    widths = [max(map(len, cell)) for cell in cells]
    lines = zip(*cells, strict=True)
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def _write(directory: Path, results: Sequence[Result], published_path: Path) -> Path:
    tables, templates = make_tables(results), make_template_tables(results)
    published = read_published(published_path) if published_path.exists() else []
    write_text(directory / "leaderboard.md", _markdown(tables, templates, published))
    write_text(directory / "leaderboard.csv", _csv(tables, templates))
    write_text(directory / "leaderboard.html", render_html(tables, templates, published))
    return directory / "leaderboard.html"


def _markdown(tables: Sequence[Table], templates: Sequence[TemplateTable], published: Sequence[PublishedRow]) -> str:
    lines = ["# Leaderboard", "", HOW_TO_READ, ""]
    lines += [] if tables or templates else ["No results yet: run `make benchmark`.", ""]
    for table in tables:
        lines += [f"## {table.title}", "", *_markdown_table(table_cells(table)), ""]
        lines += [*_below_table(footnotes(table), table.rows), ""]
    for one in templates:
        lines += [f"## {one.title}", "", *_markdown_table(template_cells(one)), ""]
        lines += [*_below_table(one.footnotes, one.rows), ""]
    if published:
        lines += ["## Published", "", published_note(published), "", *_markdown_table(published_cells(published)), ""]
    return "\n".join(lines)


def _below_table(notes: dict[str, str], rows: Sequence[Row]) -> Iterator[str]:
    """Footnotes, and the command behind every result."""
    yield from (f"- [{mark}] {note}" for mark, note in notes.items())
    for row in rows:
        for one in () if row.is_floor else row.results:
            yield f"- {_escaped(row.label)}, seed {one.card.seed}: `{_escaped(one.card.command)}`"


def _markdown_table(cells: Sequence[Sequence[str]]) -> list[str]:
    head, *rows = [[_escaped(cell) for cell in row] for row in cells]
    align = [":--" if i < 2 else "--:" for i in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, align, *rows)]


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'").split())


def _csv(tables: Sequence[Table], templates: Sequence[TemplateTable]) -> str:
    """One line per row and protocol, and one for the row's mean; accuracies, rates and gaps as fractions."""
    lines = [line for table in tables for row in table.rows for line in _csv_lines(table, row)]
    lines += [_csv_template_line(table, row) for table in templates for row in table.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _csv_shared(row: Row) -> dict[str, Any]:
    """What a row says besides what was measured."""
    card, recipe, dataset = row.card, row.card.recipe or {}, row.card.dataset or {}
    return {
        "kind": card.row,
        "division": row.division,
        "name": row.label,
        "scale": card.scale,
        "seeds": " ".join(str(result.card.seed) for result in row.results),
        "num_images": dataset.get("num_images"),
        "num_identities": dataset.get("num_identities"),
        "device_hours": row.device_hours,
        "device": row.device,
        "price": row.price,
        "train_images_per_second": row.rate("train"),
        "recipe": recipe.get("name"),
        "recipe_sha256": recipe.get("sha256"),
        "commit": row.commit,
        "command": card.command,
    }


def _csv_lines(table: Table, row: Row) -> Iterator[dict[str, Any]]:
    card, shared = row.card, {"table": table.key} | _csv_shared(row)
    reference, gap = table.reference(row), table.gap_to_real(row)
    for name in (*row.core, *row.extras):
        yield shared | {"protocol": name} | _csv_estimate(row, row.protocol(name)) | _csv_protocol(card.protocols[name])
    gaps = {
        "real_reference": reference.label if reference else None,
        "gap_to_real": gap,
        "gap_to_real_relative": None if gap is None else gap / row.mean.value,
        "gap_to_floor": table.gap_to_floor(row),
        "spread_over_groups": row.group_spread[0] if row.group_spread else None,
    }
    yield shared | {"protocol": f"mean of {table.key}"} | _csv_estimate(row, row.mean) | gaps


def _csv_template_line(table: TemplateTable, row: Row) -> dict[str, Any]:
    """Rates as the mean over the seeds; the other figures are the first seed's."""
    rates = {f"tar_at_far_{far}": rate.value for far in FARS if (rate := table.rate(row, far)) is not None}
    one = table.results(row)[0]
    figures = {"auc": one.auc, "eer": one.eer, "num_pairs": one.num_pairs, "test_set_sha256": one.sha256}
    return {"table": table.name, "protocol": table.name} | _csv_shared(row) | rates | figures


def _csv_estimate(row: Row, estimate: Estimate) -> dict[str, Any]:
    kind = "standard error" if len(row.results) == 1 else "standard deviation over seeds"
    ends = {"interval_low": estimate.low, "interval_high": estimate.high}
    return {"accuracy": estimate.value, "uncertainty": estimate.spread, "uncertainty_is": kind} | ends


def _csv_protocol(one: ProtocolResult) -> dict[str, Any]:
    """What only one seed has: the first one's."""
    rates = {f"tar_at_far_{far}": tar for far, tar in one.tar_at_far.items() if far in FARS}
    return rates | {
        "exact_accuracy": one.exact_accuracy,
        "auc": one.auc,
        "eer": one.eer,
        "d_prime": one.d_prime,
        "num_pairs": one.num_pairs,
        "test_set_sha256": one.sha256,
    }
