"""The leaderboard as one HTML page that needs no other file: tables to sort and filter, curves, histograms, grids."""

import base64
import io
import json
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from PIL import Image, UnidentifiedImageError

from bench.errors import InputError
from evaluate import svg as figures
from evaluate.leaderboard.cells import (
    ABSENT,
    HOW_TO_READ,
    count,
    footnotes,
    fraction,
    printed,
    published_note,
    row_cells,
    table_columns,
)
from evaluate.leaderboard.published import PublishedRow, series
from evaluate.leaderboard.rows import FIVE, Row, protocol_title
from evaluate.leaderboard.tables import Table
from evaluate.leaderboard.template_tables import TemplateTable, template_cells
from evaluate.measure.compare import compare_scores
from evaluate.measure.scores import Scores, read_scores
from evaluate.metrics import FARS

TEMPLATES = Path(__file__).parent.parent / "templates"
GRID_WIDTH = 640


def render_html(tables: Sequence[Table], templates: Sequence[TemplateTable], published: Sequence[PublishedRow]) -> str:
    """The page; the same rows give the same bytes."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    rows = [row for table in tables for row in table.rows] + [row for table in templates for row in table.rows]
    cards = [result.card for row in rows for result in row.results]
    return environment.get_template("leaderboard.html").render(
        how_to_read=_bold(HOW_TO_READ),
        tables=[_html_table(table) for table in tables],
        templates=[
            {"key": one.name, "title": one.title, "cells": template_cells(one), "footnotes": one.footnotes}
            for one in templates
        ],
        published=_published_html(published),
        published_note=published_note(published),
        size_plot=Markup(_size_plot(tables, published)) if published else None,
        newest=max((card.created_utc for card in cards), default=None),
        num_cards=len({(card.scale, card.fingerprint) for card in cards}),
        five=[protocol_title(name) for name in FIVE],
    )


def _bold(text: str) -> Markup:
    """Markdown's double stars as HTML."""
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", str(escape(text))))


def _html_table(table: Table) -> dict[str, Any]:
    """All that the template prints of one table."""
    scores = [_scores_of(row) for row in table.rows]
    drawn = [place for place, one in enumerate(scores) if one is not None][: figures.MAX_CURVES]
    colors = dict(zip(drawn, figures.COLORS, strict=False))
    ends = [end for row in table.rows for end in (row.mean.low, row.mean.high, *row.mean.seeds)]
    axis = figures.Axis("mean", min(ends), max(max(ends), min(ends) + 1e-9))
    rows = [_html_row(table, place, scores[place], colors.get(place), axis) for place in range(len(table.rows))]
    return {
        "key": table.key,
        "title": table.title,
        "columns": [column for column in table_columns(table) if column.where != "markdown"],
        "groups": [{"title": one.title, "rows": [rows[place] for place in one.places]} for one in table.groups],
        "footnotes": footnotes(table),
        "plots": _curves(table, scores, colors),
        "legend": [(table.rows[place].label, colors[place]) for place in drawn],
        "differences": _differences(table, scores, drawn),
    }


def _curves(table: Table, scores: Sequence[Scores | None], colors: dict[int, str]) -> list[dict[str, Any]]:
    """ROC and DET of every protocol that a drawn row has."""
    plots = []
    for name in (*table.core, *table.extras):
        curves = [
            figures.Curve(table.rows[place].label, color, part[name]["scores"], part[name]["is_genuine"])
            for place, color in colors.items()
            if (part := scores[place] or {}).get(name) is not None
        ]
        if curves:
            title = protocol_title(name)
            roc, det = Markup(figures.roc_plot(title, curves)), Markup(figures.det_plot(title, curves))
            plots.append({"title": title, "roc": roc, "det": det})
    return plots


def _html_row(table: Table, place: int, scores: Scores | None, color: str | None, axis: figures.Axis) -> dict[str, Any]:
    row = table.rows[place]
    ends = (row.mean.low, row.mean.high)
    marks = {note: mark for mark, note in footnotes(table).items()}
    interval = figures.interval_plot(ends, row.mean.seeds, axis, table.best_floor, color or figures.GREY)
    return {
        "cells": row_cells(table, place) | {"interval": Markup(interval)},
        "label": row.label,
        "division": row.division,
        "marks": [marks[note] for note in row.notes],
        "histograms": [
            Markup(figures.histogram_plot(protocol_title(name), scores[name]["scores"], scores[name]["is_genuine"]))
            for name in (*table.core, *table.extras)
            if scores and name in scores
        ],
        "grid": _grid_uri(row),
        "results": [result.card for result in row.results],
        "details": _details(row),
    }


def _details(row: Row) -> list[tuple[str, list[str]]]:
    """Table of a row's protocols beyond accuracy, for the first seed: header first."""
    names = (*row.core, *row.extras)
    protocols = [row.card.protocols[name] for name in names]
    fars = [far for far in FARS if any(one.tar_at_far.get(far) is not None for one in protocols)]
    head = ["accuracy", "95 % interval", "exact threshold", "AUC", "EER", "d'"]
    head += [*(f"TAR at FAR {far}" for far in fars), "pairs", "SHA-256 of the set"]
    lines = [("", head)]
    for name, one in zip(names, protocols, strict=True):
        ends = ABSENT if one.interval is None else " to ".join(f"{100 * end:.2f}" for end in one.interval)
        tars = [fraction(one.tar_at_far.get(far)) for far in fars]
        d_prime = ABSENT if one.d_prime is None else f"{one.d_prime:.2f}"
        values = [fraction(one.accuracy), ends, fraction(one.exact_accuracy), fraction(one.auc), fraction(one.eer)]
        values += [d_prime, *tars, f"{one.num_pairs:,}", (one.sha256 or ABSENT)[:16]]
        lines.append((protocol_title(name), values))
    return lines


def _differences(table: Table, scores: Sequence[Scores | None], rows: Sequence[int]) -> str:
    """Differences of all pairs of ``rows``, by the first seed's scores where the pairs are the same, as JSON."""
    found = {}
    for a, b in combinations(rows, 2):
        first, second = ({name: (scores[i] or {})[name] for name in table.core} for i in (a, b))
        try:
            differences = compare_scores(first, second)
        except InputError:  # other pairs: the page says that they cannot be compared
            continue
        found[f"{a},{b}"] = {
            "mean" if name == "mean" else protocol_title(name): [
                *(round(100 * value, 3) for value in (one.value, one.low, one.high)),
                float(f"{one.p_value:.3g}"),
            ]
            for name, one in differences.items()
        }
    return Markup(json.dumps({"rows": {i: table.rows[i].label for i in rows}, "pairs": found}).replace("<", "\\u003c"))


def _scores_of(row: Row) -> Scores | None:
    """Scores of the first seed; None where they are not there or lack a protocol."""
    path = row.results[0].scores_path
    scores = read_scores(path) if path else None
    return scores if scores and set(row.core) <= scores.keys() else None


def _size_plot(tables: Sequence[Table], published: Sequence[PublishedRow]) -> str:
    def point(row: PublishedRow) -> figures.SizePoint:
        color = "#2e8b57" if row.is_real else figures.GREY
        return figures.SizePoint(row.dataset, row.num_images or 0, row.mean or 0, color, is_filled=False)

    points = [point(row) for row in published if row.num_images and row.mean]
    lines = {name: [point(row) for row in rows] for name, rows in series(list(published)).items()}
    for table in tables:
        for row in table.rows:
            num_images = (row.card.dataset or {}).get("num_images")
            if table.core == FIVE and num_images and not row.is_floor:
                mean, spread = 100 * row.mean.value, 100 * row.mean.spread
                points.append(figures.SizePoint(row.label, num_images, mean, figures.COLORS[1], True, spread))
    return figures.size_plot(points, lines)


def _published_html(published: Sequence[PublishedRow]) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "accuracies": [printed(row.accuracies[name]) for name in FIVE],
            "mean": printed(row.mean),
            "gap_to_real": printed(row.gap_to_real),
            "images": count(row.num_images),
            "identities": count(row.num_identities),
        }
        for row in published
    ]


def _grid_uri(row: Row) -> str | None:
    """The dataset's sample grid as a small JPEG inside the page; None where there is none that decodes."""
    path = row.results[0].grid_path
    if path is None:
        return None
    encoded = small_jpeg(path)
    return None if encoded is None else "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def small_jpeg(path: Path) -> bytes | None:
    """An image as a small JPEG, one that is a JPEG as it is; None where it does not decode."""
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
