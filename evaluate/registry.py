"""Known verification sets: how many pairs each has, where to get it, and which copies have been seen.

Copies of one name differ by up to 1.6 points, so a set is known by its bytes. Sources: reference/sources.md.
"""

from dataclasses import dataclass, field

from bench.cards import ProtocolResult
from bench.inputs import is_rendered

_HUB = "Hub dataset gaunernst/face-recognition-eval, file {name}.bin"
_AUTHORS = "its authors: github HaiyuWu/SOTA-Face-Recognition-Train-and-Test, test sets (password on request)"


@dataclass(frozen=True)
class TestSet:
    """A published verification set."""

    __test__ = False  # the name is no test of pytest's

    num_pairs: int | None
    """As published; None where no source says it."""
    source: str
    copies: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a copy, as result cards have it -> what that copy is."""


_FOLDER = "official pairs, 112 x 112 ArcFace alignment, folder with {}"

REGISTRY = {
    "lfw": TestSet(
        6000,
        _HUB,
        {"2cc3ef8cd2eb06be0d2b0423a202baf9b5f4dc7ab6e01520d6edfcc3c7beff41": _FOLDER.format("pairs.txt")},
    ),
    "cfp_fp": TestSet(
        7000,
        _HUB,
        {"7a676c2d9db194ea89be2ae4d9dfb87a68e3f9b552dd2f45344a3291b1b3e68a": _FOLDER.format("pairs_FP.txt")},
    ),
    "cfp_ff": TestSet(
        7000,
        _HUB,
        {"7bfcff1e2b630f04f2e93086330ce184e9bcc8208cb69516a9d2b64b35e4c142": _FOLDER.format("pairs_FF.txt")},
    ),
    "agedb_30": TestSet(6000, _HUB),
    "calfw": TestSet(6000, _HUB),
    "cplfw": TestSet(6000, _HUB),
    "sllfw": TestSet(6000, "its authors: whdeng.cn"),
    "hadrian": TestSet(None, _AUTHORS),
    "eclipse": TestSet(None, _AUTHORS),
    "doppelver": TestSet(None, "its authors"),
    "twins": TestSet(None, _AUTHORS),
}


def describe_copy(name: str, sha256: str | None) -> str | None:
    """What is known of a copy of a set; None for an unknown one."""
    return REGISTRY[name].copies.get(sha256 or "") if name in REGISTRY else None


def is_unknown(name: str, result: ProtocolResult) -> bool:
    """Whether a result comes from a copy that nobody has vouched for. Rendered protocols are made here: never."""
    return not is_rendered(name) and describe_copy(name, result.sha256) is None


def wrong_count(name: str, result: ProtocolResult) -> int | None:
    """The published number of pairs where the result has another; else None."""
    published = REGISTRY[name].num_pairs if name in REGISTRY else None
    return published if published not in (None, result.num_pairs) else None
