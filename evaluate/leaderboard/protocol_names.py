"""Names of protocols as the leaderboard needs them: titles, order of the columns, and which may share a table."""

from typing import Literal

from bench.runs.inputs import RENDERED_PREFIX, is_rendered
from evaluate.test_sets.registry import HARD, RFW

FIVE = ("lfw", "cfp_fp", "agedb_30", "calfw", "cplfw")
"""The five sets whose mean papers print."""
RENDERED_FIVE = tuple(RENDERED_PREFIX + name for name in FIVE)

Family = Literal["real", "hard", "rfw", "rendered"]
"""Protocols that may stand in one table and share a mean.

Real sets, hard sets (which never enter the mean of the real ones), RFW's groups of people, and rendered heads.
"""
FAMILIES: tuple[Family, ...] = ("real", "hard", "rfw", "rendered")

_ORDER = {name: position for position, name in enumerate((*FIVE, "cfp_ff", *RENDERED_FIVE))}
_TITLES = {
    "agedb_30": "AgeDB-30",
    "ijbb": "IJB-B",
    "ijbc": "IJB-C",
    "tinyface": "TinyFace",
    "groups": "groups",
    "gallery": "gallery",
}


def protocol_title(name: str) -> str:
    """A protocol's name as papers print it; that of a rendered one starts with ``render``."""
    if name in RFW:
        return f"RFW {name.removeprefix('rfw_').title()}"
    plain = name.removeprefix(RENDERED_PREFIX)
    title = _TITLES.get(plain, plain.upper().replace("_", "-"))
    return f"render {title}" if is_rendered(name) else title


def protocol_family(name: str) -> Family:
    """The family of a protocol; protocols of two families never share a table."""
    if is_rendered(name):
        return "rendered"
    if name in HARD:
        return "hard"
    return "rfw" if name in RFW else "real"


def column_order(name: str) -> tuple[int, str]:
    """Sort key of a protocol among columns: the known ones in the order of papers, then the others by name."""
    return _ORDER.get(name, len(_ORDER)), name
