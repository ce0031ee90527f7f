"""Tables for Markdown pages."""

from collections.abc import Iterable
from typing import Any


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table; None becomes a dash, a fraction four digits, a whole number gets thousands separators."""
    head = list(columns)
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("|", "/")
