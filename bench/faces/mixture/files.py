"""The two files of a view: ``mixture.json`` names its parts, ``selection.npy`` the faces that it takes from them."""

import os
from pathlib import Path

from pydantic import Field, ValidationError

from bench.errors import InputError
from bench.files import read_json
from bench.machine.facts import Section

CARD_NAME, SELECTION_NAME = "mixture.json", "selection.npy"
SCHEMA_VERSION = 1


class ViewPart(Section):
    """One dataset that a view takes faces from."""

    name: str
    path: str = Field(description="file or folder, relative to the folder of the view")
    sha256: str = Field(description="of its content, see bench.faces.mixture.content")
    num_images: int = Field(ge=0, description="faces that the view takes")
    num_identities: int = Field(ge=0, description="identities that these faces have")
    is_real: bool = False


class ViewCard(Section):
    """mixture.json: the parts of a view."""

    schema_version: int = SCHEMA_VERSION
    seed: int = Field(description="of the drawing of subsets")
    num_images: int
    num_identities: int = Field(description="fewer than those of the parts where people were merged")
    parts: list[ViewPart]


def is_view(path: Path) -> bool:
    """Whether a folder is a view, by its ``mixture.json``."""
    return os.path.isfile(path / CARD_NAME)  # noqa: PTH113 (false for names too long for any file)


def place_of(view: Path, part: ViewPart) -> Path:
    """Where a part lies, by the path that the card of the view records."""
    return Path(os.path.normpath(view.resolve() / part.path))


def parts_of_view(path: Path) -> ViewCard:
    """The card of a view.

    Raises:
        InputError: If it does not fit the schema.
    """
    content = read_json(path / CARD_NAME)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(f"{path / CARD_NAME} has schema {version}, this code reads {SCHEMA_VERSION}; update the code")
    try:
        return ViewCard.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path / CARD_NAME}: {field}: {first['msg'][:200]}; make the view again") from None
