"""The people of each rendered test set, whom no dataset can show, and what the folder of such a set holds.

Each set has its own range of identity seeds, which its position in ``NAMES`` decides: append new sets at the end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.errors import InputError
from bench.names import nearest
from generate.render.dataset import Job
from generate.render.face import PROTOCOL_IDENTITIES

NAMES = (
    "render_lfw",
    "render_cfp_fp",
    "render_agedb_30",
    "render_calfw",
    "render_cplfw",
    "render_groups",
    "render_gallery",
)
_IDENTITIES_PER_SET = 100_000


@dataclass(frozen=True)
class HeldOutSet:
    """A test set before it is rendered."""

    jobs: Sequence[Job]
    """Its K faces."""
    list_name: str
    """Name of the text file that says who is in the faces."""
    lines: Sequence[str]
    """Lines of that file."""


def held_out_people(name: str) -> tuple[Iterator[int], int]:
    """Identity seeds of a set, ascending, and its number among ``NAMES``.

    Raises:
        InputError: If there is no such set.
    """
    if name not in NAMES:
        raise InputError(f"protocol {name} is not a rendered one; {nearest(name, NAMES)}")
    number = NAMES.index(name)
    first = PROTOCOL_IDENTITIES + number * _IDENTITIES_PER_SET
    return iter(range(first, first + _IDENTITIES_PER_SET)), number
