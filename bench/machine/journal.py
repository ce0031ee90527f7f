"""The journal of a training, ``train.jsonl``: one JSON object per line, each with step and time (Unix seconds).

What is not finite is null, so that any reader takes it. The trainers say what else a line holds.
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.files import read_json_lines, write_text

JOURNAL_NAME = "train.jsonl"


class JournalFile:
    """The file that one process writes and the others only follow.

    Args:
        path: The file; lines after ``step``, of a run that was interrupted, are dropped.
        step: Steps done.
        is_writing: Whether this process writes.
    """

    def __init__(self, path: Path, step: int, *, is_writing: bool) -> None:
        self._path, self._is_writing = path, is_writing
        self.kept = [line for line in read_json_lines(path) if line["step"] <= step] if path.exists() else []
        """The lines up to ``step``."""
        if is_writing:
            write_text(path, "".join(json.dumps(line) + "\n" for line in self.kept))

    def append(self, line: Mapping[str, Any]) -> None:
        """Append a line of ``journal_line``."""
        if self._is_writing:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")


def journal_line(step: int, values: Mapping[str, float]) -> dict[str, Any]:
    """A line, of now: values to six decimals, null where they are not finite."""
    rounded = {name: round(value, 6) if math.isfinite(value) else None for name, value in values.items()}
    return {"step": step, "time": round(time.time(), 2)} | rounded
