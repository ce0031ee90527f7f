"""Loads catalogue.yaml: facts about the files that can be downloaded, and about public face datasets.

In: the YAML file. Out: ``Catalogue``. The commands that download name the files (``generate.hub.catalogue`` and
``bench.runs.inputs``); their sizes, licences and purposes are stated in catalogue.yaml only.
"""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from bench.config.settings import Count, Settings
from bench.config.yaml_file import describe_mistakes, read_yaml
from bench.errors import InputError

CATALOGUE_PATH = Path(__file__).parent.parent.parent / "catalogue.yaml"

RepositoryKind = Literal["model", "dataset"]
Address = tuple[RepositoryKind, str, str]
"""Kind of a Hub repository (model or dataset), its name, and the path of a file in it."""


class FileFacts(Settings):
    """What is known of one file of a repository."""

    size: str | None = Field(None, description="as the repository states it, such as 697 MB")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    purpose: str = Field(description="what the file is for")


class Repository(Settings):
    """A repository of the Hugging Face Hub, and the files of it that the suite downloads."""

    name: str = Field(pattern="^[^/ ]+/[^/ ]+$")
    kind: RepositoryKind
    licence: str | None = Field(description="licence that its card states; null if none")
    files: dict[str, FileFacts] = Field(description="path in the repository -> facts")


class DatasetFacts(Settings):
    """A public face dataset that recognition networks are trained on."""

    kind: Literal["synthetic", "real"]
    identities: Count | None = Field(None, description="as its authors state")
    images: Count | None = Field(None, description="as its authors state")
    counted: str | None = Field(None, description="counts in the files themselves, where somebody counted")
    licence: str | None = None
    source: str
    traps: str | None = Field(None, description="known problems of its files")
    read: str = Field(description="how this suite reads it")


class Catalogue(Settings):
    """All of catalogue.yaml."""

    repositories: tuple[Repository, ...]
    datasets: dict[str, DatasetFacts]

    def find(self, address: Address) -> tuple[Repository, FileFacts] | None:
        """The repository and the facts of a file; None if the catalogue does not have it."""
        kind, name, path = address
        for repository in self.repositories:
            if (repository.kind, repository.name) == (kind, name) and path in repository.files:
                return repository, repository.files[path]
        return None

    @property
    def addresses(self) -> list[Address]:
        """Addresses of all files."""
        return [(entry.kind, entry.name, path) for entry in self.repositories for path in entry.files]


@cache
def load_catalogue(path: Path = CATALOGUE_PATH) -> Catalogue:
    """The catalogue, read once per process.

    Raises:
        InputError: If the file cannot be read, or a value does not fit.
    """
    try:
        return Catalogue.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {describe_mistakes(error, Catalogue)}; correct the YAML") from None
