"""Rows of the leaderboard -> printed text: what stands in each column, in Markdown and HTML alike."""

from collections.abc import Sequence
from typing import Any

from bench.config import load_benchmarks
from bench.stages import recipe_sha256
from evaluate.published import PublishedRow
from evaluate.rows import FIVE, Estimate, Table, protocol_title

ABSENT = "-"
HOW_TO_READ = (
    "Accuracies in per cent, published 10-fold protocol. One seed: ± is the standard error over pairs. "
    "Several seeds (n): mean ± standard deviation over them. "
    "Floor gap: mean less that of the best row without any training. "
    "Closed: the recipe is that of benchmarks.yaml, so that only the dataset differs; open: anything else. "
    "Hours: all stages, times processes. A star on a commit: tracked files were changed."
)


def table_cells(table: Table, closed: set[tuple[str, str]]) -> list[list[str]]:
    """Header and rows of a table as text."""
    columns = [*map(protocol_title, table.core)]
    head = ["row", "kind", "seeds", "mean", "floor gap", "Borda", *columns, *(f"({name})" for name in table.extras)]
    rows = [[*head, "images", "identities", "hours", "train images/s", "recipe", "commit"]]
    marks = {note: mark for mark, note in footnotes(table).items()}
    for place, row in enumerate(table.rows):
        facts = row_facts(table, place, closed)
        label = " ".join([row.label, *(f"[{marks[note]}]" for note in row.notes)])
        accuracies = [facts["cells"][name] for name in (*table.core, *table.extras)]
        rows.append([label, facts["kind"], facts["seeds"], facts["mean"], facts["gap"], facts["borda"], *accuracies])
        rows[-1] += [facts[key] for key in ("images", "identities", "hours", "rate", "recipe", "commit")]
    return rows


def row_facts(table: Table, place: int, closed: set[tuple[str, str]]) -> dict[str, Any]:
    """What is printed of a row, as text; absent things are a dash."""
    row = table.rows[place]
    dataset, recipe = row.card.dataset or {}, row.card.recipe or {}
    gap, hours, rate = table.gap_to_floor(row), row.device_hours, row.rate("train")
    is_closed = (recipe.get("name"), recipe.get("sha256")) in closed
    division = "closed" if is_closed else "open"
    has_protocol = {name: name in row.core or name in row.extras for name in (*table.core, *table.extras)}
    return {
        "kind": row.card.row if row.card.row != "dataset" else f"dataset, {division}",
        "seeds": ABSENT if row.is_floor else f"n={len(row.results)}" if len(row.results) > 1 else str(row.card.seed),
        "mean": format_estimate(row.mean),
        "gap": ABSENT if gap is None else f"{100 * gap:+.2f}",
        "borda": str(table.borda_ranks.get(place, ABSENT)),
        "cells": {name: format_estimate(row.protocol(name)) if has else ABSENT for name, has in has_protocol.items()},
        "images": count(dataset.get("num_images")),
        "identities": count(dataset.get("num_identities")),
        "hours": ABSENT if hours is None or row.is_floor else f"{hours:.3g} {row.device}",
        "rate": ABSENT if rate is None else f"{rate:,.0f}",
        "recipe": str(recipe.get("name", ABSENT)),
        "commit": row.commit,
    }


def published_note(published: Sequence[PublishedRow]) -> str:
    """What to know before reading published rows."""
    misprints = sum(row.is_misprint for row in published)
    return (
        "Printed by their authors, not measured here; recipes differ from row to row, and the recipe alone moves the "
        f"mean by points. Marked (!): {misprints} printed means that are not the mean of their five numbers."
    )


def published_cells(published: Sequence[PublishedRow]) -> list[list[str]]:
    """Header and published rows as text."""
    rows = [
        ["dataset", "generator", "year", "mean", *map(protocol_title, FIVE), "images", "identities", "recipe", "source"]
    ]
    for row in published:
        accuracies = [printed(row.accuracies[name]) for name in FIVE]
        counts = [count(row.num_images), count(row.num_identities)]
        year = str(row.year or ABSENT)
        rows.append(
            [row.dataset, row.generator, year, _published_mean(row), *accuracies, *counts, row.recipe, row.source]
        )
    return rows


def _published_mean(row: PublishedRow) -> str:
    if row.is_misprint:
        return f"{row.printed_mean:.2f} (!) the five average {row.mean:.2f}"
    return printed(row.mean)


def footnotes(table: Table) -> dict[str, str]:
    """Mark -> note, for all notes of a table's rows."""
    notes = dict.fromkeys(note for row in table.rows for note in row.notes)
    return {str(number): note for number, note in enumerate(notes, start=1)}


def closed_recipes() -> set[tuple[str, str]]:
    """Name and hash of the recipes of benchmarks.yaml."""
    return {(one.recipe_name, recipe_sha256(one.recipe)) for one in load_benchmarks().values()}


def format_estimate(estimate: Estimate) -> str:
    """A fraction with its uncertainty, in per cent."""
    return f"{percent(estimate.value)} ± {percent(estimate.spread)}"


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
