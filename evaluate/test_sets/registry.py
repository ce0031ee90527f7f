"""Known test sets: number of pairs as published, where each comes from, and which versions are known.

Files of one name differ: one network's accuracy on two of them lies up to 1.7 points apart. A set is therefore
identified by its SHA-256. Sources of all facts: docs/test_sets.md. Files of the Hub have no SHA-256 here;
``bench.runs.hub`` records it when a file is first fetched.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bench.config.benchmarks import OTHER_NAMES
from bench.names import look_up
from bench.runs.card_parts.groups import GroupResult
from bench.runs.card_parts.identification import IdentificationResult
from bench.runs.cards import ProtocolResult, TemplateResult
from bench.runs.hub import HubFile
from bench.runs.inputs import TEST_SETS_ON_THE_HUB, is_rendered

YARDSTICK = "AdaFace IR101 trained on WebFace12M"
"""The network whose accuracies tell the versions of a set apart."""

RFW = tuple(f"rfw_{group}" for group in ("african", "asian", "caucasian", "indian"))
"""RFW's four groups of people, one protocol each: their spread shows how unequal a network's accuracy is."""

HARD = ("xqlfw", "hadrian", "eclipse", "twins", "sllfw", "doppelver")
"""Sets made to be hard: poor images, beards, exposure, twins and look-alikes. They never enter a mean of others."""

_GAUNERNST, _ICAR = "gaunernst/face-recognition-eval", "Icar/val_sets"
_IJB_HOLDERS = "a holder of the layout of insightface's release (NIST ended distribution on 2023-03-14)"
_RFW_FILES = "NAME.bin (or .xz), or RFW's own folders rfw/data (aligned faces) and rfw/txts (lists)"
_VERSIONS_AGREE = f"the versions of {_GAUNERNST} and {_ICAR} agree"


@dataclass(frozen=True)
class TestSet:
    """A published test set."""

    __test__ = False  # pytest must not collect it as a test

    num_pairs: int | None
    """Number of pairs as published; None where no source states it."""
    source: str
    """Whom to ask for the set, where the Hub does not have it."""
    versions: dict[str, str] = field(default_factory=dict)
    """SHA-256 of a version, as in result cards -> description of that version."""
    yardstick_accuracies: dict[str, float] = field(default_factory=dict)
    """Version -> accuracy of ``YARDSTICK`` on it, a fraction."""
    note: str = ""
    hub: HubFile | None = None
    save_as: str = "NAME.bin (or .xz)"
    """Name of the file or folders in the folder of test sets."""


def _folder_version(pairs_file: str, sha256: str) -> dict[str, str]:
    return {sha256: f"official pairs, 112 x 112 ArcFace alignment, folder with {pairs_file}"}


_SETS = {
    "lfw": TestSet(
        6000,
        "its official page",
        _folder_version("pairs.txt", "2cc3ef8cd2eb06be0d2b0423a202baf9b5f4dc7ab6e01520d6edfcc3c7beff41"),
        note=f"{_VERSIONS_AGREE}; shares identities with CALFW and CPLFW",
    ),
    "cfp_fp": TestSet(
        7000,
        "its official page, cfpw.io",
        _folder_version("pairs_FP.txt", "7a676c2d9db194ea89be2ae4d9dfb87a68e3f9b552dd2f45344a3291b1b3e68a"),
        {
            _GAUNERNST: 0.9924,
            "the CVLface authors' toolkit": 0.9924,
            "namkuner/namkuner_face_dataset": 0.9934,
            _ICAR: 0.9766,
        },
        note=f"{_ICAR} has another set of images under this name; published for the yardstick: 99.26 %",
    ),
    "cfp_ff": TestSet(
        7000,
        "its official page, cfpw.io",
        _folder_version("pairs_FF.txt", "7bfcff1e2b630f04f2e93086330ce184e9bcc8208cb69516a9d2b64b35e4c142"),
    ),
    "agedb_30": TestSet(6000, "its authors, who send the password by e-mail", note=_VERSIONS_AGREE),
    "calfw": TestSet(6000, "its authors, whdeng.cn", note=f"{_VERSIONS_AGREE}; shares identities with LFW and CPLFW"),
    "cplfw": TestSet(6000, "its authors, whdeng.cn", note=f"{_VERSIONS_AGREE}; shares identities with LFW and CALFW"),
    "xqlfw": TestSet(
        6000,
        "its authors, release xqlfw_aligned_112.zip and xqlfw_pairs.txt",
        note="pairs of LFW's people with images of different quality",
        save_as="NAME/xqlfw_pairs.txt beside the unpacked images",
    ),
    "hadrian": TestSet(
        None, "its authors (Wu et al.), as an .xz with a password", note="also found as hadrian_even, its later name"
    ),
    "eclipse": TestSet(
        None, "its authors (Wu et al.), as an .xz with a password", note="also found as eclipse_even, its later name"
    ),
    "twins": TestSet(
        None,
        "its authors (Wu et al.; ND-Twins), as an .xz in the same layout",
        note="also found as twins_very_easy, its later name",
    ),
    "sllfw": TestSet(None, "its authors"),
    "doppelver": TestSet(None, "its authors"),
    **{name: TestSet(None, "its authors, by request", save_as=_RFW_FILES) for name in RFW},
    "ijbb": TestSet(8_010_270, _IJB_HOLDERS, note="pairs of templates", save_as="NAME/meta and NAME/loose_crop"),
    "ijbc": TestSet(15_658_489, _IJB_HOLDERS, note="pairs of templates", save_as="NAME/meta and NAME/loose_crop"),
}
REGISTRY = {name: replace(entry, hub=TEST_SETS_ON_THE_HUB.get(name)) for name, entry in _SETS.items()}


def find_test_set(name: str) -> TestSet:
    """The entry of a set, by its name here or by a later one.

    Raises:
        InputError: If no entry has this name (suggests the nearest).
    """
    return look_up("test set", OTHER_NAMES.get(name, name), REGISTRY)


def known_version(name: str, sha256: str | None) -> str | None:
    """Description of the version of a set with this SHA-256; None if the registry does not have it."""
    return REGISTRY[name].versions.get(sha256 or "") if name in REGISTRY else None


def in_mean(names: Iterable[str]) -> list[str]:
    """The protocols of a result that enter its mean accuracy: all but the hard ones, unless all are hard."""
    names = list(names)
    return [name for name in names if name not in HARD] or names


def is_unregistered(name: str, result: ProtocolResult | TemplateResult | GroupResult | IdentificationResult) -> bool:
    """Whether neither the registry nor the record of fetched files knows the version that a result was measured on.

    False for rendered protocols, which are made on this machine.
    """
    version = result.copy_known_as or known_version(name, result.sha256)
    return not is_rendered(name) and version is None


def unexpected_num_pairs(name: str, result: ProtocolResult | TemplateResult) -> int | None:
    """The published number of pairs, if the result has another number; else None."""
    published = REGISTRY[name].num_pairs if name in REGISTRY else None
    return published if published not in (None, result.num_pairs) else None
