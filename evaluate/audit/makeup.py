"""The make-up of a face dataset by group of people, where the groups are known.

| origin | group of an image |
|---|---|
| the renderer | by faces.parquet beside rendered faces: shape, skin and age as in ``render_groups``; they are true |
| a table ``identity,ATTRIBUTE,...`` | that of its identity |
| an ONNX network of the user | the largest of its outputs; an estimate, which errs more on some groups than on others |

An identity belongs to the group of most of its images; in a tie, to the first of these. Legend: N images, C identities,
G groups.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import sha256
from bench.machine.device import choose_device
from bench.machine.digests import remembered_sha256
from bench.runs.card_parts.makeup import GroupCount, MakeUp
from evaluate.audit.embeddings import read_faces
from evaluate.audit.source import Attribute, Source
from evaluate.layouts.face_table import read_rows
from evaluate.layouts.images import listed
from evaluate.measure.embed import feature_batches, load_network

FACTORS_FILE = "faces.parquet"
_PERSON, _AGE = "identity_seed", "age_years"
_UNKNOWN = -1

RenderedGroups = Callable[[Sequence[int], Sequence[float]], Mapping[str, Sequence[str]]]
"""Identity seed and age in years of each rendered image -> attribute -> group of each image."""


def with_attributes(
    source: Source, table: Path | None, networks: Sequence[str], rendered: RenderedGroups, *, device: str = "auto"
) -> Source:
    """A dataset with its attributes: those of the renderer, of a table, and of networks.

    Args:
        source: The dataset.
        table: CSV with a line per identity, ``identity`` and one column or more of groups; None if there is none.
        networks: Attribute networks, each ``FILE.onnx`` or ``FILE.onnx:GROUP,GROUP,...``.
        rendered: Groups of rendered people.
        device: auto, cpu, cuda or cuda:N; for the networks.

    Raises:
        InputError: If the table and the dataset name different identities, two attributes have one name, or a network
            is no ONNX file.
    """
    attributes = [*_rendered(source, rendered), *(_of_table(source, table) if table else ())]
    attributes += [_of_network(source, text, device) for text in networks]
    names = [attribute.name for attribute in attributes]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"the attribute {repeated[0]} is given twice; rename the column or the file of one")
    return replace(source, attributes=tuple(attributes))


def measure_makeup(source: Source, positions: NDArray[np.int64]) -> list[MakeUp]:
    """Images and identities by group, for every attribute of a dataset.

    Args:
        source: The dataset.
        positions: Images that count: those that decode and can be aligned faces.

    Raises:
        InputError: If a network does not have one output per group.
    """
    identity_ids = source.identity_ids[positions]
    return [_count(attribute, attribute.groups_of(positions), identity_ids) for attribute in source.attributes]


def makeup_rows(makeup: MakeUp) -> list[tuple[str, str, str, str, str]]:
    """Lines of the page's table: group, identities, their share, images, their share."""
    num_identities, num_images = (
        sum(getattr(group, name) for group in makeup.groups) for name in ("num_identities", "num_images")
    )
    return [
        (
            group.group,
            f"{group.num_identities:,}",
            f"{group.num_identities / max(num_identities, 1):.1%}",
            f"{group.num_images:,}",
            f"{group.num_images / max(num_images, 1):.1%}",
        )
        for group in makeup.groups
    ]


def makeup_figure(makeup: MakeUp) -> tuple[str, str, str]:
    """Name, value and meaning of the effective number of groups, one of the main numbers of an audit."""
    shares = ", ".join(f"{row[0]} {row[4]}" for row in makeup_rows(makeup)[:8])
    unknown = f"; {makeup.num_images_unknown:,} images of no group" if makeup.num_images_unknown else ""
    meaning = f"effective number of {len(makeup.groups)} groups, by {makeup.origin}. Images: {shares}{unknown}"
    return f"Groups of {makeup.attribute}", f"{makeup.effective_groups:.2f}", meaning


def _count(attribute: Attribute, groups: Sequence[str], identity_ids: NDArray[np.int64]) -> MakeUp:
    """Counts of one attribute.

    Args:
        attribute: The attribute.
        groups: Group of each image, shape (N,); empty for an image of none.
        identity_ids: Identity of each image, shape (N,).
    """
    names = list(attribute.order or sorted({group for group in groups if group}))
    position = {name: index for index, name in enumerate(names)}
    labels = np.array([position.get(group, _UNKNOWN) for group in groups], dtype=np.int64)
    is_known = labels != _UNKNOWN
    identities, rows = np.unique(identity_ids[is_known], return_inverse=True)
    counts = np.zeros((len(identities), len(names)), np.int64)  # (C, G)
    np.add.at(counts, (rows, labels[is_known]), 1)
    images = counts.sum(axis=0)
    people = np.bincount(counts.argmax(axis=1), minlength=len(names)) if len(names) else images
    shares = images[images > 0] / max(images.sum(), 1)
    return MakeUp(
        attribute=attribute.name,
        origin=attribute.origin,
        groups=[
            GroupCount(group=name, num_identities=int(people[index]), num_images=int(images[index]))
            for index, name in enumerate(names)
        ],
        num_images_unknown=int((~is_known).sum()),
        effective_groups=float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0,
    )


def _rendered(source: Source, rendered: RenderedGroups) -> list[Attribute]:
    """The renderer's groups, if faces.parquet beside the faces has a person and an age for each image of the source."""
    path = source.path.parent / FACTORS_FILE
    if not path.is_file():
        return []
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pandas and pyarrow raise errors of many types
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not a Parquet file ({reason}); make the faces again, or move it away") from None
    if not {_PERSON, _AGE} <= set(table.columns) or len(table) != len(source):
        return []  # faces of a generator, or a subset of the rendered ones
    digest = sha256(path)

    def attribute(name: str, groups: Sequence[str]) -> Attribute:
        return Attribute(name, "the renderer", digest, lambda positions: [groups[i] for i in positions.tolist()])

    groups = rendered(table[_PERSON].tolist(), table[_AGE].tolist())
    return [attribute(name, values) for name, values in groups.items()]


def _of_table(source: Source, path: Path) -> list[Attribute]:
    """One attribute per column of a table of identities."""
    rows = read_rows(path, ("identity",))
    by_name = {row["identity"]: row for row in rows}
    columns = [name for name in rows[0] if name != "identity"]
    if not columns:
        raise InputError(f"{path} has the column identity alone; add a column of groups")
    if len(by_name) < len(rows):
        raise InputError(f"{path} has {len(rows)} lines for {len(by_name)} identities; give one line for each")
    known = set(source.identity_names)
    for problem, names, advice in (
        (f"{path} names {{}} identities that {source.path} lacks", by_name.keys() - known, "remove them"),
        (f"{path} lacks {{}} identities of {source.path}", known - by_name.keys(), "add a line for each"),
    ):
        if names:
            raise InputError(f"{problem.format(len(names))}: {listed(sorted(names), 5)}; {advice}")
    digest = sha256(path)

    def attribute(name: str) -> Attribute:
        of_identity = [by_name[identity][name] for identity in source.identity_names]

        def groups_of(positions: NDArray[np.int64]) -> list[str]:
            return [of_identity[identity] for identity in source.identity_ids[positions].tolist()]

        return Attribute(name, f"the table {path.name}", digest, groups_of)

    return [attribute(name) for name in columns]


def _of_network(source: Source, text: str, device: str) -> Attribute:
    """The attribute that an ONNX network estimates; it is named after the file."""
    file, _, given = text.partition(":")
    path = Path(file)
    if path.suffix != ".onnx" or not path.is_file():
        what = "is no .onnx file" if path.exists() else "does not exist"
        raise InputError(f"attribute network {path} {what}; give FILE.onnx or FILE.onnx:GROUP,GROUP")
    names = [name.strip() for name in given.split(",")] if given else []
    if given and (len(set(names)) < 2 or len(set(names)) < len(names) or not all(names)):
        raise InputError(f"attribute network {path} has the groups {given!r}; give two or more different names")

    def groups_of(positions: NDArray[np.int64]) -> list[str]:
        chosen = choose_device(device)
        network = load_network(path, chosen)
        largest: list[int] = []
        for _, scores in feature_batches(network, read_faces(source, positions), device=chosen, mode="no_flip"):
            if names and scores.shape[1] != len(names):
                raise InputError(
                    f"{path} has {scores.shape[1]} outputs, but {len(names)} groups are named ({given}); name each"
                )
            largest += scores.argmax(dim=1).tolist()
        return [names[index] if names else f"output {index}" for index in largest]

    state = f"{remembered_sha256(path)} {given}".strip()
    return Attribute(path.stem, f"the network {path.name}", state, groups_of, tuple(names))
