"""Tables -> the leaderboard as one HTML page that needs no other file.

The page has tables that can be sorted and filtered, ROC and DET curves, score histograms, paired differences of two
rows, and sample grids of the datasets. Its template is ``evaluate/pages/leaderboard.html``.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from bench.errors import InputError
from evaluate.leaderboard.cells import (
    ABSENT,
    HOW_TO_READ,
    format_fraction,
    published_cells,
    published_note,
    row_cells,
    sweep_cells,
    table_cells,
    table_columns,
    template_cells,
)
from evaluate.leaderboard.figures import (
    MAX_CURVES,
    Curve,
    SizePoint,
    det_plot,
    histogram_plot,
    interval_plot,
    roc_plot,
    size_plot,
)
from evaluate.leaderboard.people_tables import PeopleTable
from evaluate.leaderboard.protocol_names import FIVE, protocol_title
from evaluate.leaderboard.published import PublishedRow, group_by_size
from evaluate.leaderboard.rows import Row, number_notes
from evaluate.leaderboard.tables import FoldedSweep, Table
from evaluate.leaderboard.template_tables import TemplateTable
from evaluate.measure.compare import compare_scores
from evaluate.measure.scores import Scores, read_scores
from evaluate.metrics import FARS
from evaluate.pages.render import render_page
from evaluate.pages.svg import COLORS, GREY, Axis

GRID_WIDTH = 640
"""Largest width of a sample grid in pixels."""
_PHOTOGRAPHS = COLORS[2]  # published datasets of real photographs in the figure of accuracy against size
_OURS = COLORS[1]


_TEMPLATE_NOTE = (
    "True accept rates in per cent, at the loosest threshold whose false accept rate is at most FAR. They are means "
    "over the seeds. ± is the standard error over the genuine pairs."
)


def render_leaderboard(
    tables: Sequence[Table],
    templates: Sequence[TemplateTable],
    people: Sequence[PeopleTable],
    published: Sequence[PublishedRow],
    not_shown: Mapping[str, str],
) -> str:
    """The page as text; equal rows give equal bytes.

    Args:
        tables: Tables of verification protocols.
        templates: Tables of template protocols.
        people: Tables of errors by group and of identification.
        published: Rows of papers.
        not_shown: Path -> problem of each result that cannot be shown.
    """
    with_sweeps = [each for table in tables for each in (table, *(sweep.table for sweep in table.sweeps))]
    shown: list[Table | TemplateTable | PeopleTable] = [*with_sweeps, *templates, *people]
    rows = [row for table in shown for row in table.rows]
    cards = [card for row in rows for card in row.cards]
    return render_page(
        "leaderboard.html",
        how_to_read=HOW_TO_READ,
        tables=[_table_values(table) for table in tables],
        templates=[*map(_template_table_values, templates), *map(_people_table_values, people)],
        published=[(row, published_cells(row)) for row in published],
        published_note=published_note(published),
        not_shown=not_shown,
        size_plot=Markup(_size_plot(tables, published)) if published else None,
        newest=max((card.created_utc for card in cards), default=None),
        num_cards=len({(card.scale, card.fingerprint) for card in cards}),
    )


def small_jpeg(path: Path) -> bytes | None:
    """An image as a JPEG at most ``GRID_WIDTH`` wide; a file that is a JPEG already is returned unchanged.

    None if the file does not decode.
    """
    try:
        image = Image.open(path)
        if image.format == "JPEG":
            return path.read_bytes()
        small = image.convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
    small.thumbnail((GRID_WIDTH, 4 * GRID_WIDTH))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def _table_values(table: Table) -> dict[str, Any]:
    """Values of one table for the template."""
    scores = [_first_scores(row) for row in table.rows]
    with_scores = [position for position, row_scores in enumerate(scores) if row_scores is not None]
    drawn = with_scores[:MAX_CURVES]
    colors = dict(zip(drawn, COLORS, strict=False))
    ends = [end for row in table.rows for end in (row.mean.low, row.mean.high, *row.mean.seeds)]
    axis = Axis("mean", min(ends), max(max(ends), min(ends) + 1e-9))
    rows = [
        _row_values(table, position, scores[position], colors.get(position), axis) for position in range(len(scores))
    ]
    return {
        "key": table.key,
        "title": table.title,
        "columns": [column for column in table_columns(table) if column.shown_in != "markdown"],
        "groups": [{"title": group.title, "rows": [rows[i] for i in group.positions]} for group in table.groups],
        "sweeps": [_sweep_values(sweep) for sweep in table.sweeps],
        "footnotes": number_notes(table.rows),
        "plots": _curves(table, scores, colors),
        "legend": [(table.rows[position].label, colors[position]) for position in drawn],
        "differences": _differences(table, scores, drawn),
    }


def _sweep_values(sweep: FoldedSweep) -> dict[str, Any]:
    """The line of a sweep, and the table of its settings that opens below it."""
    return {"cells": sweep_cells(sweep), "page": sweep.page, "table": table_cells(sweep.table)}


def _template_table_values(table: TemplateTable) -> dict[str, Any]:
    return {
        "key": table.name,
        "title": table.title,
        "note": _TEMPLATE_NOTE,
        "cells": template_cells(table),
        "footnotes": number_notes(table.rows),
    }


def _people_table_values(table: PeopleTable) -> dict[str, Any]:
    return {
        "key": table.key,
        "title": table.title,
        "note": table.note,
        "cells": table.cells,
        "footnotes": number_notes(table.rows),
        "figures": [(caption, Markup(figure)) for caption, figure in table.figures],
        "legend": table.legend,
    }


def _row_values(table: Table, position: int, scores: Scores | None, color: str | None, axis: Axis) -> dict[str, Any]:
    """Values of one row for the template.

    Args:
        table: The row's table.
        position: Position of the row in it.
        scores: Scores of the row's first seed; None gives no histograms.
        color: Colour of the row's curves; None where it has none.
        axis: Range of the intervals of all rows.
    """
    row = table.rows[position]
    marks = number_notes(table.rows)
    ends = (row.mean.low, row.mean.high)
    interval = interval_plot(ends, row.mean.seeds, axis, table.best_floor(row), color or GREY)
    histograms = [
        histogram_plot(protocol_title(name), scores[name]["scores"], scores[name]["is_genuine"])
        for name in (*table.core, *table.extras)
        if scores and name in scores
    ]
    return {
        "cells": row_cells(table, position) | {"interval": Markup(interval)},
        "label": row.label,
        "division": row.division,
        "marks": [marks[note] for note in row.notes],
        "histograms": [Markup(histogram) for histogram in histograms],
        "grid": _grid_uri(row),
        "results": row.cards,
        "details": _details(row),
    }


def _details(row: Row) -> list[tuple[str, list[str]]]:
    """A table of all numbers of the first seed: title and cells per protocol, after a header."""
    protocols = {name: row.card.protocols[name] for name in (*row.core, *row.extras)}
    fars = [far for far in FARS if any(protocol.tar_at_far.get(far) is not None for protocol in protocols.values())]
    header = ["accuracy", "95 % interval", "exact threshold", "AUC", "EER", "d'"]
    header += [*(f"TAR at FAR {far}" for far in fars), "pairs", "SHA-256 of the set"]
    lines = [("", header)]
    for name, protocol in protocols.items():
        ends = protocol.interval
        interval = ABSENT if ends is None else " to ".join(f"{100 * end:.2f}" for end in ends)
        cells = [format_fraction(protocol.accuracy), interval]
        cells += [format_fraction(value) for value in (protocol.exact_accuracy, protocol.auc, protocol.eer)]
        cells.append(ABSENT if protocol.d_prime is None else f"{protocol.d_prime:.2f}")
        cells += [format_fraction(protocol.tar_at_far.get(far)) for far in fars]
        cells += [f"{protocol.num_pairs:,}", (protocol.sha256 or ABSENT)[:16]]
        lines.append((protocol_title(name), cells))
    return lines


def _curves(table: Table, scores: Sequence[Scores | None], colors: Mapping[int, str]) -> list[dict[str, Any]]:
    """ROC and DET of every protocol, with a curve for each coloured row that has its scores."""
    plots = []
    for name in (*table.core, *table.extras):
        curves = []
        for position, color in colors.items():
            arrays = (scores[position] or {}).get(name)
            if arrays is not None:
                curves.append(Curve(table.rows[position].label, color, arrays["scores"], arrays["is_genuine"]))
        if curves:
            title = protocol_title(name)
            roc, det = Markup(roc_plot(title, curves)), Markup(det_plot(title, curves))
            plots.append({"title": title, "roc": roc, "det": det})
    return plots


def _differences(table: Table, scores: Sequence[Scores | None], positions: Sequence[int]) -> Markup:
    """Paired differences of each two rows on each protocol, by the scores of their first seeds, as JSON.

    Two rows that were measured on other files are left out; the page then says that they cannot be compared.
    """
    pairs = {}
    for a, b in combinations(positions, 2):
        if table.rows[a].test_sets != table.rows[b].test_sets:
            continue
        first = {name: (scores[a] or {})[name] for name in table.core}
        second = {name: (scores[b] or {})[name] for name in table.core}
        try:
            differences = compare_scores(first, second)
        except InputError:
            continue
        figures = {}
        for name, difference in differences.items():
            points = [round(100 * value, 3) for value in (difference.value, difference.low, difference.high)]
            figures["mean" if name == "mean" else protocol_title(name)] = [*points, float(f"{difference.p_value:.3g}")]
        pairs[f"{a},{b}"] = figures
    labels = {position: table.rows[position].label for position in positions}
    return Markup(json.dumps({"rows": labels, "pairs": pairs}).replace("<", "\\u003c"))


def _first_scores(row: Row) -> Scores | None:
    """Scores of the first seed; None if the file is missing or lacks a core protocol."""
    path = row.results[0].scores_path
    scores = read_scores(path) if path else None
    return scores if scores and set(row.core) <= scores.keys() else None


def _size_plot(tables: Sequence[Table], published: Sequence[PublishedRow]) -> str:
    """Accuracy against number of training images: published rows, and ours on all five real sets."""
    points = [_published_point(row) for row in published if row.num_images and row.mean]
    series = {name: [_published_point(row) for row in rows] for name, rows in group_by_size(published).items()}
    for table in tables:
        for row in table.rows:
            num_images = row.num_images
            if table.core == FIVE and num_images and not row.is_floor:
                mean, spread = 100 * row.mean.value, 100 * row.mean.standard_error
                points.append(SizePoint(row.label, num_images, mean, _OURS, is_filled=True, spread=spread))
    return size_plot(points, series)


def _published_point(row: PublishedRow) -> SizePoint:
    color = _PHOTOGRAPHS if row.is_real else GREY
    return SizePoint(row.dataset, row.num_images or 0, row.mean or 0, color, is_filled=False)


def _grid_uri(row: Row) -> str | None:
    """The sample grid of the dataset as a data URI; None if there is none that decodes."""
    path = row.results[0].grid_path
    encoded = small_jpeg(path) if path else None
    return None if encoded is None else "data:image/jpeg;base64," + base64.b64encode(encoded).decode()
