"""Name of training checkpoints, and the check that one belongs to this run."""

from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.files import flatten

CHECKPOINT_NAME = "checkpoint.pt"


def refuse_other_settings(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings than those of this run.

    Args:
        path: The checkpoint, for the message.
        saved: Settings in the checkpoint, nested or flat.
        current: Settings of this run, nested or flat.

    Raises:
        InputError: If a setting differs. The message names the first such setting and both values.
    """
    saved, current = flatten(saved), flatten(current)
    for field in sorted(saved.keys() | current.keys()):
        if saved.get(field) != current.get(field):
            raise InputError(
                f"{path} was trained with {field}={saved.get(field)}, this run has {current.get(field)}; "
                "delete it to start anew, or train into another folder"
            )
