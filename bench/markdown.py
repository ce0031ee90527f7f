"""Markdown tables: the only place that writes them."""

from collections.abc import Iterable, Sequence
from typing import Any


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[Any]], *, align: Sequence[str] | None = None) -> str:
    """A Markdown table as text without a newline at its end.

    None is printed as a dash, a float with four significant digits, a whole number with thousands separators. In text,
    pipes are escaped and line breaks become spaces.

    Args:
        columns: Titles of the columns.
        rows: Cells of each row, as many as there are columns.
        align: ``"---"``, ``":--"`` or ``"--:"`` per column; all ``"---"`` by default.
    """
    titles = [format_cell(title) for title in columns]
    lines = [titles, list(align or ["---"] * len(titles)), *([format_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_cell(value: Any) -> str:
    """One value as the text of a cell."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return " ".join(str(value).replace("|", "\\|").split())
