"""What both trainers go by when they go on from a checkpoint: its name, and whose it may be."""

from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.runs.cards import flatten

CHECKPOINT_NAME = "checkpoint.pt"


def refuse_other_settings(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse a checkpoint of another run.

    Args:
        path: The checkpoint.
        before: Settings that it was written with, nested or flat.
        now: Those of the run that would go on from it.

    Raises:
        InputError: If the settings differ; names the first that does, with both values.
    """
    before, now = flatten(before), flatten(now)
    for field in sorted(before.keys() | now.keys()):
        if before.get(field) != now.get(field):
            raise InputError(
                f"{path} was trained with {field}={before.get(field)}, this run has {now.get(field)}; "
                "delete it to start anew, or train into another folder"
            )
