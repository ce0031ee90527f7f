"""Lines of a journal, such as train.jsonl -> points of MLflow's curves, under the names of its charts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.files import read_json_lines
from bench.machine.journal import JOURNAL_NAME
from bench.runs.tracking.fields import is_number
from bench.runs.tracking.store import Point, allowed_name

_WHOLE_NAMES = ("system/", "accuracy/", "images/", "images_per_second/")
"""Prefixes of names that stay as they are; all other numbers belong to a training or its validation."""


def points_of_lines(lines: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The points of lines that have a step; values that are not finite are left out."""
    return [
        Point(allowed_name(_chart_name(name)), float(value), int(line.get("time", 0) * 1000), line["step"])
        for line in lines
        if isinstance(line.get("step"), int)
        for name, value in line.items()
        if name not in ("step", "time") and is_number(value)
    ]


def points_of_journal(directory: Path) -> list[Point]:
    """The points of the journal in a folder; none if there is no journal."""
    path = directory / JOURNAL_NAME
    return points_of_lines(read_json_lines(path)) if path.exists() else []


def _chart_name(name: str) -> str:
    """``loss`` becomes ``train/loss``; ``lfw/accuracy`` of a validation becomes ``validation/lfw``."""
    if name.startswith(_WHOLE_NAMES):
        return name
    if name.endswith("/accuracy"):
        return f"validation/{name.removesuffix('/accuracy')}"
    return name if name.startswith("held_out/") else f"train/{name}"
