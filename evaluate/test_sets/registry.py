"""Known verification sets: pairs as published, where to get each, which copies have been seen, how they differ.

Copies of one name differ by up to 1.6 points, so a set is known by its bytes. All facts: reference/sources.md and
reference/formats.md; a number that they do not state is None (IJB's are the lines of the release's lists). The Hub's
files have no SHA-256 here, since nobody has fetched them on a machine of ours yet: ``bench.runs.hub`` records it when they
are first seen.
"""

from dataclasses import dataclass, field, replace

from bench.names import look_up
from bench.runs.cards import ProtocolResult, TemplateResult
from bench.runs.hub import HubFile
from bench.runs.inputs import TEST_SETS_ON_THE_HUB, is_rendered

YARDSTICK = "AdaFace IR101 trained on WebFace12M"
"""The network whose accuracies tell copies of one name apart."""

RFW = tuple(f"rfw_{group}" for group in ("african", "asian", "caucasian", "indian"))
"""Four groups of people, one protocol each: how unequal a network's accuracy is."""

_GAUNERNST, _ICAR = "gaunernst/face-recognition-eval", "Icar/val_sets"
_IJB = "whoever holds a copy in the layout of insightface's release: NIST ended distribution on 2023-03-14"
_COPIES_AGREE = f"the copies of {_GAUNERNST} and {_ICAR} agree"


@dataclass(frozen=True)
class TestSet:
    """A published verification set."""

    __test__ = False  # the name is no test of pytest's

    num_pairs: int | None
    """As published; None where no source says it."""
    ask: str
    """Where to get it other than from the Hub."""
    copies: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a copy, as result cards have it -> what that copy is."""
    yardstick_accuracies: dict[str, float] = field(default_factory=dict)
    """Copy -> accuracy of ``YARDSTICK`` on it, a fraction."""
    note: str = ""
    hub: HubFile | None = None
    put: str = "NAME.bin (or .xz)"
    """Where in the folder of test sets."""


def _folder(pairs_file: str, sha256: str) -> dict[str, str]:
    return {sha256: f"official pairs, 112 x 112 ArcFace alignment, folder with {pairs_file}"}


_SETS = {
    "lfw": TestSet(
        6000,
        "its official page",
        _folder("pairs.txt", "2cc3ef8cd2eb06be0d2b0423a202baf9b5f4dc7ab6e01520d6edfcc3c7beff41"),
        note=f"{_COPIES_AGREE}; shares identities with CALFW and CPLFW",
    ),
    "cfp_fp": TestSet(
        7000,
        "its official page, cfpw.io",
        _folder("pairs_FP.txt", "7a676c2d9db194ea89be2ae4d9dfb87a68e3f9b552dd2f45344a3291b1b3e68a"),
        {
            _GAUNERNST: 0.9924,
            "the CVLface authors' toolkit": 0.9924,
            "namkuner/namkuner_face_dataset": 0.9934,
            _ICAR: 0.9766,
        },
        note=f"{_ICAR} holds another artifact under this name; published for the yardstick: 99.26 %",
    ),
    "cfp_ff": TestSet(
        7000,
        "its official page, cfpw.io",
        _folder("pairs_FF.txt", "7bfcff1e2b630f04f2e93086330ce184e9bcc8208cb69516a9d2b64b35e4c142"),
    ),
    "agedb_30": TestSet(6000, "its authors, who send the password by e-mail", note=_COPIES_AGREE),
    "calfw": TestSet(6000, "its authors, whdeng.cn", note=f"{_COPIES_AGREE}; shares identities with LFW and CPLFW"),
    "cplfw": TestSet(6000, "its authors, whdeng.cn", note=f"{_COPIES_AGREE}; shares identities with LFW and CALFW"),
    "hadrian": TestSet(None, "its authors (Wu et al.), an .xz with a password"),
    "eclipse": TestSet(None, "its authors (Wu et al.), an .xz with a password"),
    "twins": TestSet(None, "its authors (Wu et al.; ND-Twins), an .xz in the same layout"),
    "sllfw": TestSet(None, "its authors"),
    "doppelver": TestSet(None, "its authors"),
    **{
        name: TestSet(None, "its authors, by request", put="NAME.bin (or .xz), or aligned faces in rfw/data, rfw/txts")
        for name in RFW
    },
    "ijbb": TestSet(8_010_270, _IJB, note="pairs of templates", put="NAME/meta and NAME/loose_crop"),
    "ijbc": TestSet(15_658_489, _IJB, note="pairs of templates", put="NAME/meta and NAME/loose_crop"),
}
REGISTRY = {name: replace(known, hub=TEST_SETS_ON_THE_HUB.get(name)) for name, known in _SETS.items()}


def find_test_set(name: str) -> TestSet:
    """The registry's entry.

    Raises:
        InputError: If the name is unknown (says the nearest).
    """
    return look_up("test set", name, REGISTRY)


def describe_copy(name: str, sha256: str | None) -> str | None:
    """What is known of a copy of a set; None for an unknown one."""
    return REGISTRY[name].copies.get(sha256 or "") if name in REGISTRY else None


def is_unknown(name: str, result: ProtocolResult | TemplateResult) -> bool:
    """Whether a result comes from a copy that neither the registry nor the record of fetching knows.

    Rendered protocols are made here: never.
    """
    known = result.copy_known_as or describe_copy(name, result.sha256)
    return not is_rendered(name) and known is None


def wrong_count(name: str, result: ProtocolResult | TemplateResult) -> int | None:
    """The published number of pairs where the result has another; else None."""
    published = REGISTRY[name].num_pairs if name in REGISTRY else None
    return published if published not in (None, result.num_pairs) else None
