"""Public face datasets as text: what catalogue.yaml knows of each. ``python -m evaluate datasets``."""

from collections.abc import Sequence

from bench.config.catalogue import DatasetFacts, load_catalogue
from bench.markdown import format_cell
from bench.names import look_up

_TITLES = {"synthetic": "Synthetic datasets", "real": "Photographs"}


def describe_datasets(names: Sequence[str] = ()) -> str:
    """A paragraph per dataset, synthetic ones first: size, licence, source, traps, and how to read it here.

    Args:
        names: Datasets of the catalogue; empty for all.

    Raises:
        InputError: If a name is unknown; the message suggests the nearest.
    """
    known = load_catalogue().datasets
    chosen = {name: look_up("dataset", name, known) for name in names or known}
    paragraphs = []
    for kind, title in _TITLES.items():
        members = [_describe(name, facts) for name, facts in chosen.items() if facts.kind == kind]
        if members:
            paragraphs += [f"{title} ({len(members)}); a dash stands for what no source states", *members]
    return "\n\n".join(paragraphs)


def _describe(name: str, facts: DatasetFacts) -> str:
    size = f"{format_cell(facts.identities)} identities, {format_cell(facts.images)} images"
    fields = {
        "stated": size,
        "counted": facts.counted,
        "licence": facts.licence,
        "source": facts.source,
        "traps": facts.traps,
        "read here": facts.read,
    }
    return "\n".join([name, *(f"  {field:<10} {format_cell(value)}" for field, value in fields.items())])
