"""Names that users type: look them up, and suggest the nearest when they are unknown."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from bench.errors import InputError

EntryT = TypeVar("EntryT")
_MAX_LENGTH, _MAX_COMPARED, _MAX_LISTED = 100, 1000, 60
"""Limits of a message: characters of the name, choices that are compared with it, choices that are listed."""


def look_up(what: str, name: str, known: Mapping[str, EntryT]) -> EntryT:
    """The entry that is called ``name``.

    Args:
        what: Kind of the entries, such as "recipe"; for the message.
        name: The name that was given.
        known: All entries by name.

    Raises:
        InputError: If the name is unknown; the message gives the nearest one.
    """
    if name not in known:
        raise InputError(f"{what} {name!r} is unknown; {nearest(name, known)}")
    return known[name]


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest choice, if one is similar, and all choices."""
    choices = list(choices)
    near = difflib.get_close_matches(name[:_MAX_LENGTH], choices[:_MAX_COMPARED], n=1, cutoff=0.5)
    more = f" and {len(choices) - _MAX_LISTED} more" if len(choices) > _MAX_LISTED else ""
    return (f"did you mean {near[0]}? " if near else "") + f"choose from {', '.join(choices[:_MAX_LISTED])}{more}"
