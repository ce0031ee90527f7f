"""Loads benchmarks.yaml: its schema, and messages for its mistakes.

In: the YAML file. Out: a ``Benchmark`` per entry, checked and frozen. The schema of the two large sections is in
``generator.py`` and ``recipe.py`` beside this file. A field has a name, a type, a range, and a description with its
unit; unknown keys are refused. Only the stages read these settings: the functions that they call take plain parameters.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from bench.config.generator import GENERATORS, FilesGenerator, Generator
from bench.config.recipe import Recipe
from bench.config.settings import Count, Settings, Share
from bench.errors import InputError
from bench.names import nearest

BENCHMARKS_PATH = Path(__file__).parent.parent.parent / "benchmarks.yaml"


class Expected(Settings):
    """Expected cost and accuracy of a benchmark; ``make plan`` prints them."""

    generate_images_per_second: float = Field(gt=0)
    train_images_per_second: float = Field(gt=0)
    device: str = Field(description="device that the two rates were measured or estimated for")
    memory_gb: float = Field(gt=0, description="main memory in GB")
    gpu_memory_gb: float = Field(0, ge=0, description="memory per GPU in GB")
    mean_accuracy: tuple[Share, Share] | None = Field(
        None, description="lowest and highest plausible mean over the protocols"
    )
    source: str = Field(description="origin of the figures: measured, published or estimated")


class Benchmark(Settings):
    """One entry of benchmarks.yaml. The names of its recipe and of its list of protocols are resolved."""

    name: str
    version: Count = 1
    about: str
    generator: Generator
    recipe_name: str
    recipe: Recipe
    protocols: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    expected: Expected
    real_reference: bool = Field(
        False,
        description="whether results with the same recipe state their gap to this one: it trains on photographs, or on "
        "rendered faces where the protocols are rendered",
    )

    @cached_property
    def num_images_seen(self) -> int | None:
        """Images times epochs of the training; None for a ``files`` dataset, whose images are not counted yet."""
        if isinstance(self.generator, FilesGenerator):
            return None
        return self.generator.num_identities * self.generator.images_per_identity * self.recipe.schedule.epochs


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice. PyYAML itself would silently take the last one."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    duplicates = sorted({str(key) for key in keys if keys.count(key) > 1})
    if duplicates:
        raise InputError(f"line {node.start_mark.line + 1}: key given twice: {', '.join(duplicates)}; keep one")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_benchmark(name: str, path: str | Path = BENCHMARKS_PATH) -> Benchmark:
    """Load one benchmark by its name (``SCALE``).

    Raises:
        InputError: If the file cannot be read, the name is unknown (the message suggests the nearest), or a value is
            invalid.
    """
    document = _read(path)
    return _resolve(name, document, path)


def load_benchmarks(path: str | Path = BENCHMARKS_PATH) -> dict[str, Benchmark]:
    """Load all benchmarks by name, in the order of the file.

    Raises:
        InputError: If the file cannot be read, or a value of any entry is invalid.
    """
    document = _read(path)
    return {name: _resolve(name, document, path) for name in document["benchmarks"]}


def load_recipe(name: str, path: str | Path = BENCHMARKS_PATH) -> Recipe:
    """The training recipe called ``name``.

    Args:
        name: Entry of the section ``recipes``, such as ``smoke_arcface``.
        path: The file; by default benchmarks.yaml of the project.

    Raises:
        InputError: If the file cannot be read, the name is unknown (the message says the nearest), or a value does not
            fit.
    """
    recipes = _read(path)["recipes"]
    if name not in recipes:
        raise InputError(f"recipe {name} is not in {path}; {nearest(name, recipes)}")
    try:
        return Recipe.model_validate(recipes[name])
    except ValidationError as error:
        raise InputError(f"{path}: recipes.{name}: {describe_mistakes(error, Recipe)}; mend the YAML") from None


def protocol_names(names: Sequence[str], path: str | Path = BENCHMARKS_PATH) -> list[str]:
    """Protocol names, with each named list of the file replaced by its protocols: ``rfw`` gives the four RFW sets."""
    groups = _read(path)["protocols"]
    expanded: list[str] = []
    for name in names:
        expanded += groups.get(name, [name])
    return expanded


def read_yaml(path: str | Path) -> Any:
    """Content of a YAML file, as dicts, lists and values.

    Raises:
        InputError: If the file is missing or not YAML, or a key is given twice.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return yaml.load(file, _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run inside the project's folder or give --config FILE") from None
    except (yaml.YAMLError, InputError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; correct the YAML") from None


def _read(path: str | Path) -> dict[str, Any]:
    """Content of benchmarks.yaml, with its three sections checked to be there."""
    document = read_yaml(path)
    if not isinstance(document, dict) or set(document) != {"recipes", "protocols", "benchmarks"}:
        got = sorted(document) if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{path} holds {got} at its top level; give exactly recipes, protocols and benchmarks")
    return document


def _resolve(name: str, document: dict[str, Any], path: str | Path) -> Benchmark:
    """Put the recipe and the protocols in the place of their names, and check all values."""
    benchmarks, recipes, groups = document["benchmarks"], document["recipes"], document["protocols"]
    if name not in benchmarks:
        raise InputError(f"SCALE={name} is not in {path}; {nearest(name, benchmarks)}")
    entry = dict(benchmarks[name])
    location = f"{path}: benchmarks.{name}"
    recipe_name = entry.get("recipe")
    if recipe_name not in recipes:
        raise InputError(f"{location}.recipe={recipe_name} is unknown; {nearest(str(recipe_name), recipes)}")
    group = entry.get("protocols")
    if isinstance(group, str):
        if group not in groups:
            raise InputError(f"{location}.protocols={group} is unknown; {nearest(group, groups)}")
        entry["protocols"] = groups[group]
    entry |= {"name": name, "recipe_name": recipe_name, "recipe": recipes[recipe_name]}
    try:
        return Benchmark.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{location}: {describe_mistakes(error, Benchmark)}; correct the YAML") from None


def describe_mistakes(error: ValidationError, schema: type[BaseModel]) -> str:
    """All mistakes of a validation in one line: dotted field, message, value given; for unknown keys the nearest field.

    Args:
        error: Error of pydantic.
        schema: Model that was validated, which knows the fields.
    """
    parts = []
    for mistake in error.errors():
        field = ".".join(str(part) for part in mistake["loc"] if part not in GENERATORS)
        if mistake["type"] == "extra_forbidden":
            key, known = str(mistake["loc"][-1]), _known_fields(schema, mistake["loc"][:-1])
            parts.append(f"{field} is unknown ({nearest(key, known)})" if known else f"{field} is unknown")
        elif mistake["type"] == "missing":
            parts.append(f"{field} is missing")
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            got = "" if mistake["type"] == "value_error" else f", got {mistake['input']!r}"
            parts.append(f"{field}: {message[0].lower()}{message[1:]}{got}")
    return "; ".join(parts)


def _known_fields(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Fields of the section at a location of pydantic, which for a union also contains the tag (``vec2face``)."""
    section: Any = schema
    for part in location:
        if part in GENERATORS:
            section = GENERATORS[str(part)]
        elif isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[str(part)].annotation
    return sorted(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
