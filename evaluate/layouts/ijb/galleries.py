"""The 1:N lists of IJB-B and IJB-C in ``meta/`` -> searches of templates.

A list is a CSV file with a line per face, of which the first two columns, template and subject, are read. The galleries
are ``*_1N_gallery_S1.csv`` and ``_S2`` (IJB-B), or ``_G1`` and ``_G2`` (IJB-C); every template of
``*_1N_probe_mixed.csv`` is searched for in both. A subject has one template in one of the two galleries.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import is_hidden, read_text, sha256
from evaluate.layouts.ijb.templates import TemplateSet
from evaluate.layouts.images import listed
from evaluate.layouts.labels import is_count
from evaluate.layouts.searches import Enrolment, Searches, check_searches


def gallery_lists(folder: Path) -> dict[str, Path]:
    """Name of each 1:N list, such as ``G1`` and ``mixed`` -> its file; empty where the set has none."""
    files = (path for path in (folder / "meta").glob("*_1N_*.csv") if not is_hidden(path.name))
    return {path.stem.rpartition("_")[2]: path for path in sorted(files)}


def load_ijb_searches(folder: Path, templates: TemplateSet) -> tuple[Searches, str]:
    """The searches of a template set; rows are positions of its templates.

    Returns:
        The searches, and a text with the digests of the lists.

    Raises:
        InputError: If a list is missing or malformed, names a template without faces, or enrols a subject twice.
    """
    lists = gallery_lists(folder)
    galleries = {name: path for name, path in lists.items() if "_gallery_" in path.name}
    probes = [path for path in lists.values() if "_probe_" in path.name]
    if len(probes) != 1 or not galleries:
        raise InputError(
            f"{folder / 'meta'} holds {len(probes)} lists *_1N_probe_*.csv and {len(galleries)} of galleries; needs "
            "one and at least one, as in the release"
        )
    searches = Searches(
        _read(probes[0], templates), {name: _read(path, templates, is_gallery=True) for name, path in galleries.items()}
    )
    check_searches(searches, probes[0])
    return searches, "".join(f"{sha256(path)}  {path.name}\n" for path in lists.values())


def _read(path: Path, templates: TemplateSet, *, is_gallery: bool = False) -> Enrolment:
    """Each template of a list once, with its subject."""
    pairs = _read_pairs(path)
    numbers, subjects = pairs.T
    if len(np.unique(numbers)) != len(numbers):
        raise InputError(f"{path} gives a template two subjects; unpack it again")
    if is_gallery and len(np.unique(subjects)) != len(subjects):
        repeated, counts = np.unique(subjects, return_counts=True)
        raise InputError(f"{path} enrols subject {repeated[np.argmax(counts)]} twice; keep one template of each")
    positions = np.searchsorted(templates.template_numbers, numbers).clip(max=len(templates.template_numbers) - 1)
    unknown = numbers[templates.template_numbers[positions] != numbers]
    if unknown.size:
        raise InputError(
            f"{path} names {unknown.size} templates without faces: {listed([str(number) for number in unknown], 5)}; "
            "unpack it again"
        )
    return Enrolment(positions, subjects)


def _read_pairs(path: Path) -> NDArray[np.int64]:
    """The distinct pairs of template and subject, shape (templates, 2)."""
    pairs = set()
    for number, line in enumerate(read_text(path).splitlines()[1:], start=2):
        fields = [field.strip().strip('"') for field in line.split(",", 2)]
        if not line.strip():
            continue
        if len(fields) < 2 or not (is_count(fields[0]) and is_count(fields[1])):
            raise InputError(f"{path} line {number} is {line[:80]!r}; needs 'template,subject,...'")
        pairs.add((int(fields[0]), int(fields[1])))
    if not pairs:
        raise InputError(f"{path} names no template; needs lines 'template,subject,...' below a header")
    return np.array(sorted(pairs), dtype=np.int64)
