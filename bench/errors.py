"""Exceptions that end a command in one line, and the form of commands in messages."""

import re
import signal

_LONG_WORD, _MAX_CHARACTERS, _END_CHARACTERS = 400, 2000, 300


OUT_OF_MEMORY = "memory ran out"
"""How the message of a training begins whose batch does not fit; a rehearsal looks for it."""


class InputError(ValueError):
    """Bad input: a setting, a file or a flag that does not fit.

    The text is one line: what is wrong, with the value that was given, and then what to do. The commands print it on
    stderr and end with status 2. A list stands below it, as notes of the exception (``add_note``). Any other exception
    is a bug and shows its traceback. A name or value of hundreds of characters, which only a damaged file holds, is cut
    in the middle, and so is a text of thousands.
    """

    def __str__(self) -> str:
        text = re.sub(rf"\S{{{_LONG_WORD},}}", lambda word: f"{word[0][:100]} ... {word[0][-100:]}", super().__str__())
        return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS // 2]} ... {text[-_END_CHARACTERS:]}"


class Preempted(KeyboardInterrupt):
    """A scheduler asked this run to end, and its checkpoint is written.

    The commands then end with status 128 + number of the signal.
    """

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"ended by {name}; the checkpoint is written; run the same command again to resume")
        self.number = number


def how_to_make(stage: str, scale: str) -> str:
    """The advice to run a stage of a benchmark first, for messages."""
    return f"run make {stage} SCALE={scale} with the same SEED, SET and RUNS"


def python_command(arguments: str) -> str:
    """A command as messages and help print it, which works without an activated environment.

    Args:
        arguments: Package, sub-command and flags, as in ``evaluate fetch lfw``.
    """
    return f".venv/bin/python -m {arguments}"
