"""Write measured speeds and sizes to reports/speed/NAME.md and NAME.json, with machine and versions.

Each package measures itself (``generate/speed``, ``fr_train/speed``, ``evaluate/measure/speed.py``) when it is called
by ``python -m bench.speed NAME``. A number holds for one machine; ratios of rows hold roughly on others too.
"""

import multiprocessing
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.files import write_json, write_text
from bench.machine.facts import environment, git_state
from bench.markdown import markdown_table

SPEED_DIR = Path(__file__).parent.parent.parent / "reports" / "speed"

Row = Mapping[str, str | float | None]


def write_speed(
    name: str, title: str, tables: Mapping[str, Sequence[Row]], *, notes: str = "", directory: Path = SPEED_DIR
) -> Path:
    """Write the tables of one run as Markdown and JSON, with command, machine, core count, versions and UTC time.

    Args:
        name: Name of the two files.
        title: What was compared, in one line.
        tables: Caption -> rows. The keys of the first row are the columns; None is printed as a dash.
        notes: How the numbers were measured, as Markdown.
        directory: Folder of the two files.

    Returns:
        Path of the Markdown file.
    """
    record = {
        "name": name,
        "title": title,
        "tables": {caption: [dict(row) for row in rows] for caption, rows in tables.items()},
        "notes": notes,
        "command": shlex.join(["python", "-m", "bench.speed", *sys.argv[1:]]),
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment().model_dump(mode="json"),
        "git": git_state().model_dump(mode="json"),
    }
    write_json(directory / f"{name}.json", record)
    write_text(directory / f"{name}.md", render_speed(record))
    return directory / f"{name}.md"


def in_own_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, and return its result."""
    # Unlike the processes of a Pool, that of an executor may start others
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def render_speed(record: Mapping[str, Any]) -> str:
    """The Markdown page of a JSON record of ``write_speed``."""
    machine = record["environment"]
    git = record["git"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [f"# {record['title']}", ""]
    for caption, rows in record["tables"].items():
        parts += [f"## {caption}", "", _table(rows), ""]
    parts += [record["notes"], ""] if record["notes"] else []
    parts += [
        f"Measured {record['created_utc']} by `{record['command']}` at commit {(git['commit'] or 'none')[:12]}"
        + (" with changes" if git["dirty"] else ""),
        f"on {machine['num_cores']} cores of {machine['cpu']}, {machine['memory_gb']:g} GB"
        + (f", {machine['gpu']}" if machine["gpu"] else "")
        + f"; {machine['platform']}; {versions}.",
    ]
    return "\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    columns = list(rows[0])
    return markdown_table(columns, ([_three_digits(row[column]) for column in columns] for row in rows))


def _three_digits(value: str | float | None) -> str | None:
    """A number with three significant digits, from 100 on without decimals; text unchanged."""
    if value is None or isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
