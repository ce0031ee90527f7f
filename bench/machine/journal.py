"""The journal of a training run, ``train.jsonl``: one JSON object per line.

Every line has ``step`` and ``time`` (Unix time, seconds). Values that are not finite are written as null, so that
every JSON reader accepts the file. Each trainer documents the other fields of its lines.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

from bench.files import append_text, read_json_lines, write_text
from bench.machine.figures import report

JOURNAL_NAME = "train.jsonl"
JournalLine = dict[str, int | float | None]
"""Numbers of one line by name; None for a number that is not finite."""


class JournalFile:
    """A journal on disk. One process writes it; the others only read its earlier lines.

    Args:
        path: The file. Lines beyond ``step``, written by an interrupted run after its checkpoint, are removed.
        step: Number of steps done.
        is_writing: Whether this process writes.
    """

    def __init__(self, path: Path, step: int, *, is_writing: bool) -> None:
        self._path, self._is_writing = path, is_writing
        rows = read_json_lines(path) if path.exists() else []
        self.earlier_lines: list[JournalLine] = [
            line for line in rows if isinstance(line.get("step"), int) and line["step"] <= step
        ]
        """Lines of the interrupted run up to ``step``."""
        if is_writing:
            write_text(path, "".join(json.dumps(line) + "\n" for line in self.earlier_lines))

    def append(self, line: JournalLine) -> None:
        """Append a line that ``journal_line`` built, and report it (``bench.machine.figures``)."""
        if self._is_writing:
            append_text(self._path, json.dumps(line, allow_nan=False) + "\n")
            report(line)


def journal_line(step: int, values: Mapping[str, float]) -> JournalLine:
    """A line with the current time. Values are rounded to six decimals and null where they are not finite."""
    rounded = {name: round(value, 6) if math.isfinite(value) else None for name, value in values.items()}
    return {"step": step, "time": round(time.time(), 2), **rounded}
