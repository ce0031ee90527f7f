"""Name of training checkpoints, and the checks that one is whole and belongs to this run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.files import flatten

CHECKPOINT_NAME = "checkpoint.pt"


@contextmanager
def refuse_damaged(path: Path) -> Iterator[None]:
    """Turn errors of the block, which reads a checkpoint, into a message that says what to do.

    Raises:
        InputError: If the block raises an error that a damaged file causes.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is damaged ({reason}); delete {path.name}, and the training starts anew") from None


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
