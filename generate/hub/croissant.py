"""A finished dataset -> ``croissant.json``, its description in Croissant 1.1 with the fields for responsible AI.

Search engines for datasets and the checks of conferences read it. Files are named with size and SHA-256. An LMDB has no
reader in Croissant, so that it is a file only; the rows of faces.parquet are a record set. Specification:
https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

import re
from pathlib import Path
from typing import Any

from bench.files import sha256, write_json
from bench.runs.cards import DatasetCard
from generate.hub.datasheet import (
    GAP,
    biases,
    collection,
    licence,
    limitations,
    personal_information,
    use_cases,
)

CROISSANT_NAME = "croissant.json"
_FORMATS = {
    "faces.lmdb": "application/octet-stream",
    "faces.parquet": "application/x-parquet",
    "selection.npy": "application/octet-stream",
    "mixture.json": "application/json",
    "grid.png": "image/png",
}
"""Files of a dataset that are described, where they exist, and their media types."""
_VOCABULARY = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty",
    "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField",
    "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
    "subField", "transform",
)  # fmt: skip
"""Terms of Croissant's standard context."""
_TYPES = {"int": "sc:Integer", "uint": "sc:Integer", "float": "sc:Float", "double": "sc:Float", "bool": "sc:Boolean"}


def write_croissant(directory: Path, card: DatasetCard) -> Path:
    """Write croissant.json into the folder of a dataset; returns its path.

    Args:
        directory: Folder with the files of the dataset.
        card: The card of the dataset.
    """
    path = directory / CROISSANT_NAME
    write_json(path, describe_dataset(directory, card))
    return path


def describe_dataset(directory: Path, card: DatasetCard) -> dict[str, Any]:
    """The content of croissant.json."""
    title = f"{card.name} ({card.fingerprint})"
    record_set = _record_set(directory / "faces.parquet")
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": _name(card),
        "description": f"{card.num_images:,} aligned face images of 112 x 112 pixels, of {card.num_identities:,} "
        f"{'identities' if card.statistics.parts else 'invented identities'}, for training face recognition.",
        "license": "https://spdx.org/licenses/MIT.html" if licence(card) == "MIT" else licence(card),
        "version": f"{card.inputs.get('version', 1)}.0.0",
        "dateCreated": card.created_utc,
        "datePublished": card.created_utc[:10],
        "creator": {"@type": "sc:Organization", "name": GAP},
        "citeAs": f"@misc{{{_name(card)}, title = {{{title}}}, year = {{{card.created_utc[:4]}}}}}",
        "distribution": _file_objects(directory, card),
        **({"recordSet": [record_set]} if record_set else {}),
        **_responsible_ai(card),
    }


def _responsible_ai(card: DatasetCard) -> dict[str, Any]:
    """Fields for responsible AI; ``GAP`` where the card cannot tell."""
    sources = [f"{name}: trained on {weight.trained_on or 'not stated'}" for name, weight in card.weights.items()]
    parts = [part.name for part in card.statistics.parts or []]
    return {
        "rai:dataCollection": collection(card),
        "rai:dataCollectionType": "Software Collection",
        "rai:dataUseCases": use_cases(),
        "rai:dataLimitations": limitations(card),
        "rai:dataBiases": biases(card),
        "rai:personalSensitiveInformation": personal_information(card),
        "rai:dataSocialImpact": GAP,
        "rai:dataReleaseMaintenancePlan": GAP,
        "rai:hasSyntheticData": not any(part.is_real for part in card.statistics.parts or []),
        "prov:wasDerivedFrom": [*sources, *parts] or "no data",
        "prov:wasGeneratedBy": f"{card.command} at commit {card.git.commit or 'unknown'}",
    }


def _file_objects(directory: Path, card: DatasetCard) -> list[dict[str, Any]]:
    objects = []
    for name, media_type in _FORMATS.items():
        path = directory / name
        if not path.is_file():
            continue
        digest = card.content_sha256 if name == card.path else None
        objects.append(
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{path.stat().st_size} B",
                "encodingFormat": media_type,
                "sha256": digest or sha256(path),
            }
        )
    return objects


def _record_set(path: Path) -> dict[str, Any] | None:
    """The rows of faces.parquet: one per face, in the order of the LMDB's keys; None without a readable file."""
    if not path.is_file():
        return None
    import pyarrow.parquet as pq  # takes time, which --help must not wait for

    schema = pq.read_schema(path)
    fields = []
    for column in schema:
        is_list = str(column.type).startswith("list")
        kind = str(column.type.value_type if is_list else column.type)
        data_type = next((name for start, name in _TYPES.items() if kind.startswith(start)), "sc:Text")
        source = {"fileObject": {"@id": path.name}, "extract": {"column": column.name}}
        field = {"@type": "cr:Field", "@id": f"faces/{column.name}", "name": column.name, "dataType": data_type}
        fields.append(field | {"source": source} | ({"repeated": True} if is_list else {}))
    description = "One row per face, in the order of the keys of faces.lmdb: how it was made, and what was measured."
    return {"@type": "cr:RecordSet", "@id": "faces", "name": "faces", "description": description, "field": fields}


def _context() -> dict[str, Any]:
    """Croissant's standard context, and the prefixes of the fields for responsible AI and provenance."""
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        **{term: f"cr:{term}" for term in _VOCABULARY},
        "conformsTo": "dct:conformsTo",
        "cr": "http://mlcommons.org/croissant/",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "prov": "http://www.w3.org/ns/prov#",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
    }


def _name(card: DatasetCard) -> str:
    """Name of the dataset in letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{card.name} {card.scale} seed {card.seed}").strip("-")
