"""benchmarks.yaml, read in this one place: generator, recipe, protocols, expected cost.

A field is a name, a type, a unit in its description, and a range. Unknown keys are refused. Configuration stops at a
stage's door: inner functions take plain parameters. Sections: ``generator.py`` and ``recipe.py`` beside this file.
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
    """What a benchmark is expected to cost and to reach, with where the figure comes from."""

    generate_images_per_second: float = Field(gt=0)
    train_images_per_second: float = Field(gt=0)
    device: str = Field(description="what the rates hold for")
    memory_gb: float = Field(gt=0, description="main memory")
    gpu_memory_gb: float = Field(0, ge=0)
    mean_accuracy: tuple[Share, Share] | None = Field(None, description="band of plausible means")
    source: str


class Benchmark(Settings):
    """One entry of benchmarks.yaml, resolved: the recipe's settings stand in place of its name."""

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
        description="photographs, or rendered faces on rendered protocols: rows of its recipe state their gap to it",
    )

    @cached_property
    def num_images_seen(self) -> int | None:
        """Images that pass through the network in training, or None for a dataset that is not counted yet."""
        if isinstance(self.generator, FilesGenerator):
            return None
        return self.generator.num_identities * self.generator.images_per_identity * self.recipe.schedule.epochs


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML otherwise takes silently."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict:
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise InputError(f"line {node.start_mark.line + 1}: key given twice: {', '.join(twice)}; keep one")
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_benchmark(name: str, path: str | Path = BENCHMARKS_PATH) -> Benchmark:
    """The benchmark called ``name``.

    Raises:
        InputError: If the file cannot be read, the name is unknown (says the nearest), or a value does not fit.
    """
    document = _read(path)
    return _resolve(name, document, path)


def load_benchmarks(path: str | Path = BENCHMARKS_PATH) -> dict[str, Benchmark]:
    """Every benchmark of the file, in its order.

    Raises:
        InputError: As ``load_benchmark``.
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
    """Names of protocols, with the file's named lists of them (``five``, ``rfw``) taken apart."""
    groups = _read(path)["protocols"]
    return [part for name in names for part in groups.get(name, [name])]


def read_yaml(path: str | Path) -> Any:
    """Content of a YAML file; a key given twice is refused.

    Raises:
        InputError: If the file is missing or not YAML.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return yaml.load(file, _UniqueKeyLoader)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run inside the project's folder or give --config FILE") from None
    except (yaml.YAMLError, InputError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}; mend the YAML") from None


def _read(path: str | Path) -> dict[str, Any]:
    document = read_yaml(path)
    if not isinstance(document, dict) or set(document) != {"recipes", "protocols", "benchmarks"}:
        got = sorted(document) if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{path}: top level must hold recipes, protocols and benchmarks; got {got}; mend the YAML")
    return document


def _resolve(name: str, document: dict[str, Any], path: str | Path) -> Benchmark:
    benchmarks, recipes, groups = document["benchmarks"], document["recipes"], document["protocols"]
    if name not in benchmarks:
        raise InputError(f"SCALE={name} is not in {path}; {nearest(name, benchmarks)}")
    entry = dict(benchmarks[name])
    where = f"{path}: benchmarks.{name}"
    recipe_name = entry.get("recipe")
    if recipe_name not in recipes:
        raise InputError(f"{where}.recipe={recipe_name} is unknown; {nearest(str(recipe_name), recipes)}")
    group = entry.get("protocols")
    if isinstance(group, str):
        if group not in groups:
            raise InputError(f"{where}.protocols={group} is unknown; {nearest(group, groups)}")
        entry["protocols"] = groups[group]
    entry |= {"name": name, "recipe_name": recipe_name, "recipe": recipes[recipe_name]}
    try:
        return Benchmark.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{where}: {describe_mistakes(error, Benchmark)}; mend the YAML") from None


def describe_mistakes(error: ValidationError, schema: type[BaseModel]) -> str:
    """All mistakes in one line: dotted path, message, value got, and the nearest field for an unknown key."""
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
    """Fields of the section that a pydantic location points into; a union adds its tag to the location."""
    section: Any = schema
    for part in location:
        if part in GENERATORS:
            section = GENERATORS[str(part)]
        elif isinstance(section, type) and issubclass(section, BaseModel) and part in section.model_fields:
            section = section.model_fields[str(part)].annotation
    return sorted(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
