"""Names that people type, looked up among the known ones."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from bench.errors import InputError

EntryT = TypeVar("EntryT")


def look_up(what: str, name: str, known: Mapping[str, EntryT]) -> EntryT:
    """The entry of a name.

    Args:
        what: What the names stand for, for the message.
        name: The name given.
        known: Entries by name.

    Raises:
        InputError: If the name is unknown (says the nearest).
    """
    if name not in known:
        raise InputError(f"{what} {name!r} is unknown; {nearest(name, known)}")
    return known[name]


def nearest(name: str, choices: Iterable[str]) -> str:
    """Half a sentence that helps with a mistyped name: the nearest choice, if any is near, and all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"choose from {', '.join(choices)}"
