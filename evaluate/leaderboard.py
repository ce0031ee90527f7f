"""Result cards -> leaderboard: Markdown, CSV and one HTML page.

Rows come from ``evaluate.rows``, figures from the scores beside the cards. Imports neither torch nor mlflow: the end of
a benchmark that has nothing to do must take seconds. The same cards give the same bytes.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from bench.cards import ResultCard
from bench.files import write_text
from evaluate.cells import HOW_TO_READ, closed_recipes, footnotes, percent, published_cells, published_note, table_cells
from evaluate.published import PublishedRow, read_published
from evaluate.report import render_html
from evaluate.rows import Table, make_tables, protocol_title, read_committed, read_local

PUBLISHED_PATH = Path(__file__).parent.parent / "reports" / "published.csv"


def write_leaderboard(runs: Path) -> Path:
    """Render ``leaderboard.md``, ``.csv`` and ``.html`` of every result in ``runs``; returns the HTML file.

    Raises:
        InputError: If a card does not fit the schema or contradicts itself.
    """
    return _write(runs, make_tables(read_local(runs)), PUBLISHED_PATH)


def write_committed_leaderboard(reports: Path) -> Path:
    """Render ``reports/leaderboard.*`` from ``reports/results/*.json`` and ``reports/published.csv``."""
    return _write(reports, make_tables(read_committed(reports)), reports / "published.csv")


def format_row(result: ResultCard) -> str:
    """A result for the terminal, in per cent: a line of column names and a line of numbers."""
    mean = f"{percent(result.mean_accuracy)} ± {percent(result.mean_standard_error)}"
    cells = [("name", result.name), ("seed", str(result.seed)), ("mean", mean)]
    cells += [(protocol_title(name), percent(one.accuracy)) for name, one in result.protocols.items()]
    widths = [max(map(len, cell)) for cell in cells]
    lines = zip(*cells, strict=True)
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def _write(directory: Path, tables: Sequence[Table], published_path: Path) -> Path:
    published = read_published(published_path) if published_path.exists() else []
    write_text(directory / "leaderboard.md", _markdown(tables, published))
    write_text(directory / "leaderboard.csv", _csv(tables))
    write_text(directory / "leaderboard.html", render_html(tables, published))
    return directory / "leaderboard.html"


def _markdown(tables: Sequence[Table], published: Sequence[PublishedRow]) -> str:
    lines = ["# Leaderboard", "", HOW_TO_READ, ""]
    lines += [] if tables else ["No results yet: run `make benchmark`.", ""]
    closed = closed_recipes()
    for table in tables:
        lines += [f"## {table.title}", "", *_markdown_table(table_cells(table, closed)), ""]
        lines += [f"- [{mark}] {note}" for mark, note in footnotes(table).items()]
        lines += [""] if footnotes(table) else []
    if published:
        lines += ["## Published", "", published_note(published), "", *_markdown_table(published_cells(published)), ""]
    return "\n".join(lines)


def _markdown_table(cells: Sequence[Sequence[str]]) -> list[str]:
    head, *rows = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in cells]
    align = [":--" if i < 2 else "--:" for i in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, align, *rows)]


def _csv(tables: Sequence[Table]) -> str:
    """One line per row and protocol, and one for the row's mean; accuracies as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = [
        "table",
        "kind",
        "division",
        "name",
        "scale",
        "seeds",
        "protocol",
        "accuracy",
        "uncertainty",
        "uncertainty_is",
    ]
    head += ["num_pairs", "test_set_sha256", "num_images", "num_identities", "device_hours", "device"]
    writer.writerow([*head, "train_images_per_second", "recipe", "recipe_sha256", "commit", "command"])
    closed = closed_recipes()
    for table in tables:
        for row in table.rows:
            card, recipe, dataset = row.card, row.card.recipe or {}, row.card.dataset or {}
            division = "closed" if (recipe.get("name"), recipe.get("sha256")) in closed else "open"
            seeds = " ".join(str(result.card.seed) for result in row.results)
            first = [table.key, card.row, "" if row.is_floor else division, row.label, card.scale, seeds]
            kind = "standard error" if len(row.results) == 1 else "standard deviation over seeds"
            last = [dataset.get("num_images"), dataset.get("num_identities"), row.device_hours, row.device]
            last += [row.rate("train"), recipe.get("name"), recipe.get("sha256"), row.commit, card.command]
            for name in (*row.core, *row.extras):
                one, accuracy = card.protocols[name], row.protocol(name)
                writer.writerow([*first, name, accuracy.value, accuracy.spread, kind, one.num_pairs, one.sha256, *last])
            writer.writerow([*first, f"mean of {table.key}", row.mean.value, row.mean.spread, kind, "", "", *last])
    return text.getvalue()
