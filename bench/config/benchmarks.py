"""Loads benchmarks.yaml: its schema, and messages for its mistakes.

In: the YAML file. Out: a ``Benchmark`` per entry, checked and frozen. The schema of the two large sections is in
``generator.py`` and ``recipe.py`` beside this file. A field has a name, a type, a range, and a description with its
unit; unknown keys are refused. Only the stages read these settings: the functions that they call take plain parameters.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from bench.config.divisions import DIVISIONS, CapSettings, OverCaps
from bench.config.generator import FilesGenerator, Generator
from bench.config.mixture import MixtureGenerator
from bench.config.overrides import apply_changes, check_fields, describe_change, parse_changes, value_of
from bench.config.recipe import Recipe
from bench.config.settings import Count, Settings, Share
from bench.config.yaml_file import check_entries, describe_mistakes, read_yaml
from bench.errors import InputError
from bench.names import nearest

BENCHMARKS_PATH = Path(__file__).parent.parent.parent / "benchmarks.yaml"
OTHER_NAMES = {"hadrian_even": "hadrian", "eclipse_even": "eclipse", "twins_very_easy": "twins"}
"""Name that the authors of a test set use today -> its name in this suite."""
FOLDERS_OF_RUNS = {
    "models",
    "datasets",
    "generators",
    "rehearsals",
    "protocols",
    "embeddings",
    "assets",
    "sweeps",
    "mlruns",
    "mlartifacts",
} | {"mlflow.db", "leaderboard.md", "leaderboard.html", "leaderboard.csv"}
"""Other files and folders in RUNS. A benchmark may not have these names, since its own folder lies there too."""


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
    source: str = Field(description="origin of the numbers: measured, published or estimated")

    @model_validator(mode="after")
    def _is_a_range(self) -> "Expected":
        if self.mean_accuracy and self.mean_accuracy[0] > self.mean_accuracy[1]:
            raise ValueError(f"mean_accuracy={list(self.mean_accuracy)} is no range; give the lower accuracy first")
        return self


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
        description="whether results with the same recipe state their gap to this entry, because it trains on "
        "photographs or, where the protocols are rendered, on rendered faces",
    )
    changes: tuple[str, ...] = Field(
        (), description="fields that differ from the file, as FIELD=VALUE: those of SET or of a point of a sweep"
    )
    division: str | None = Field(
        None, description="division of an open challenge (bench/config/divisions.py) whose rules the entry keeps"
    )
    over_caps: OverCaps = Field(
        "refuse",
        description="what happens to a dataset of files that exceeds the division's caps: it is refused, or a seeded "
        "subset is used",
    )

    @model_validator(mode="after")
    def _keeps_its_division(self) -> "Benchmark":
        if self.division is None:
            if self.over_caps != "refuse":
                raise ValueError(f"over_caps={self.over_caps} needs a division; name one, or leave over_caps out")
            return self
        if self.division not in DIVISIONS:
            raise ValueError(f"division={self.division} is unknown; {nearest(self.division, DIVISIONS)}")
        rules = DIVISIONS[self.division]
        problem = rules.recipe_problem(self.recipe)
        if problem is None and not isinstance(self.generator, FilesGenerator | MixtureGenerator):
            num_identities = self.generator.num_identities
            problem = rules.size_problem(num_identities, num_identities * self.generator.images_per_identity)
            problem = f"the generator makes {problem}; make fewer" if problem else None
        if problem is not None:
            raise ValueError(f"division={self.division}: {problem}, or leave the division out")
        return self

    @property
    def subset_caps(self) -> CapSettings | None:
        """Caps of the division, if a larger dataset is cut down to them; else None."""
        if self.division is None or self.over_caps != "subset":
            return None
        rules = DIVISIONS[self.division]
        return {"identities": rules.max_identities, "images": rules.max_images}


def load_benchmark(
    name: str, path: str | Path = BENCHMARKS_PATH, changes: str | Mapping[str, Any] = "", *, source: str = "SET"
) -> Benchmark:
    """Load one benchmark by its name (``SCALE``).

    Args:
        name: Entry of the file.
        path: The file; by default benchmarks.yaml of the project.
        changes: Fields to change, dotted, with their values; or the text of SET, see ``bench.config.overrides``.
        source: Where the changes come from, for messages.

    Returns:
        The entry. Its ``changes`` state the fields whose values differ from those of the file.

    Raises:
        InputError: If the file cannot be read, the name is unknown (the message suggests the nearest), or a value is
            invalid.
    """
    document = _read(path)
    entry = _resolve(name, document, path)
    fields = parse_changes(changes) if isinstance(changes, str) else dict(changes)
    check_fields(fields, source)
    return _change(entry, document, fields, path, source) if fields else entry


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
    return _check_recipe(name, recipes, path)


def _check_recipe(name: str, recipes: dict[str, Any], path: str | Path) -> Recipe:
    try:
        return Recipe.model_validate(recipes[name])
    except ValidationError as error:
        raise InputError(f"{path}: recipes.{name}: {describe_mistakes(error, Recipe)}; correct the YAML") from None


def protocol_names(names: Sequence[str], path: str | Path = BENCHMARKS_PATH) -> list[str]:
    """Protocol names, with each named list of the file replaced by its protocols: ``rfw`` gives the four RFW sets."""
    return _expand_lists(names, _read(path)["protocols"])


def _expand_lists(names: Sequence[str], groups: dict[str, list[str]]) -> list[str]:
    """Protocol names without duplicates: groups replaced by their members, other authors' names by ours."""
    expanded: dict[str, None] = {}
    for name in names:
        expanded |= dict.fromkeys(OTHER_NAMES.get(member, member) for member in groups.get(name, [name]))
    return list(expanded)


def _read(path: str | Path) -> dict[str, Any]:
    """Content of benchmarks.yaml, checked for its three sections, lists of protocols and names of benchmarks."""
    document = read_yaml(path)
    if not isinstance(document, dict) or set(document) != {"recipes", "protocols", "benchmarks"}:
        got = sorted(map(str, document))[:10] if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{path} holds {got} at its top level; give exactly recipes, protocols and benchmarks")
    for section, entries in document.items():
        check_entries(entries, f"{path}: {section}")
    for name, members in document["protocols"].items():
        if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
            raise InputError(f"{path}: protocols.{name} is {members!r:.100}; give a list of names of test sets")
    for name in document["benchmarks"]:
        _check_name(name, path)
    return document


def check_folder_name(name: str, what: str) -> None:
    """Refuse the name of an entry that cannot be a folder of its own.

    Args:
        name: Name of a benchmark or of a sweep.
        what: File and kind of the entry, for the message.

    Raises:
        InputError: If it is empty, too long, or holds a character that some file system refuses.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        rule = "take letters, digits, '-', '_' and '.', a letter or digit first, at most 100"
        raise InputError(f"{what} is called {name!r:.100}; {rule}")


def _check_name(name: str, path: str | Path) -> None:
    """Refuse the name of a benchmark that cannot be a folder of its own below ``runs``."""
    check_folder_name(name, f"{path}: a benchmark")
    if name.lower() in FOLDERS_OF_RUNS:
        raise InputError(f"{path}: a benchmark is called {name}, the name of another file or folder in RUNS; rename it")


def _resolve(name: str, document: dict[str, Any], path: str | Path, above: tuple[str, ...] = ()) -> Benchmark:
    """The entry with its recipe, protocols and parts of a mixture looked up by their names, and all values checked.

    Args:
        name: Name of the entry.
        document: Content of the file.
        path: The file, for messages.
        above: Mixtures that this entry is a part of.
    """
    benchmarks = document["benchmarks"]
    if name not in benchmarks:
        raise InputError(f"SCALE={name} is not in {path}; {nearest(name, benchmarks)}")
    location = f"{path}: benchmarks.{name}"
    check_entries(benchmarks[name], location)
    try:
        entry = _without_names(dict(benchmarks[name]), document, location, path, (*above, name))
        return Benchmark.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{location}: {describe_mistakes(error, Benchmark)}; correct the YAML") from None


def _change(
    base: Benchmark, document: dict[str, Any], changes: dict[str, Any], path: str | Path, source: str
) -> Benchmark:
    """A benchmark with changed fields. Changes below ``recipe`` apply to the recipe that the entry then names.

    A value is recorded as changed if it differs from the one in the file: for the fields of a recipe, in that recipe.
    """
    of_recipe = {field.removeprefix("recipe."): value for field, value in changes.items() if field[:7] == "recipe."}
    of_entry = {field: value for field, value in changes.items() if field[:7] != "recipe."}
    entry = apply_changes(document["benchmarks"][base.name], of_entry, source)
    entry = _without_names(entry, document, f"{source} for {path}: {base.name}", path, (base.name,))
    entry["recipe"] = apply_changes(entry["recipe"], of_recipe, f"{source}: recipe")
    try:
        changed = Benchmark.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{source}: {describe_mistakes(error, Benchmark)}; correct {source}") from None
    recipe = _check_recipe(changed.recipe_name, document["recipes"], path)
    in_file = base.model_copy(update={"recipe": recipe})
    values = {field: (value_of(in_file, field), value_of(changed, field)) for field in changes if field != "recipe"}
    if changed.recipe_name != base.recipe_name:
        values = {"recipe": (base.recipe_name, changed.recipe_name)} | values
    texts = {field: describe_change(field, now) for field, (before, now) in values.items() if before != now}
    recipe_name = changed.recipe_name
    if texts_of_recipe := [text[7:] for field, text in texts.items() if field[:7] == "recipe."]:
        recipe_name = f"{recipe_name} with {', '.join(texts_of_recipe)}"
    return changed.model_copy(update={"changes": tuple(texts.values()), "recipe_name": recipe_name})


def _without_names(
    entry: dict[str, Any], document: dict[str, Any], location: str, path: str | Path, names: tuple[str, ...]
) -> dict[str, Any]:
    """An entry whose recipe, protocols and parts of a mixture, given by name, are replaced by their settings.

    Args:
        entry: The entry.
        document: Content of the file.
        location: The entry, for messages.
        path: The file, for messages.
        names: The mixtures that this entry is a part of, then its own name.
    """
    recipes, groups = document["recipes"], document["protocols"]
    recipe_name = entry.get("recipe")
    if not isinstance(recipe_name, str) or recipe_name not in recipes:
        raise InputError(f"{location}.recipe={recipe_name!s:.100} is unknown; {nearest(str(recipe_name), recipes)}")
    group = entry.get("protocols")
    if isinstance(group, str):
        if group not in groups:
            raise InputError(f"{location}.protocols={group} is unknown; {nearest(group, groups)}")
        entry["protocols"] = groups[group]
    elif isinstance(group, list) and all(isinstance(member, str) for member in group):
        entry["protocols"] = _expand_lists(group, groups)
    resolved = {"name": names[-1], "recipe_name": recipe_name, "recipe": recipes[recipe_name], "changes": ()}
    return entry | resolved | {"generator": _with_parts(entry.get("generator"), document, path, names)}


def _with_parts(generator: Any, document: dict[str, Any], path: str | Path, above: tuple[str, ...]) -> Any:
    """The section ``generator``; every part of a mixture that names a benchmark gets that benchmark's generator."""
    if not isinstance(generator, dict) or not isinstance(generator.get("parts"), list):
        return generator
    parts = []
    for number, part in enumerate(generator["parts"]):
        location = f"{path}: benchmarks.{above[-1]}.generator.parts.{number}"
        name = part.get("benchmark") if isinstance(part, dict) else None
        if isinstance(part, dict) and "generator" in part:
            raise InputError(f"{location}.generator is unknown; name an entry with benchmark, or a dataset with path")
        if isinstance(name, str):
            if name not in document["benchmarks"]:
                raise InputError(f"{location}.benchmark={name} is unknown; {nearest(name, document['benchmarks'])}")
            if name in above:
                circle = " -> ".join([*above, name])
                raise InputError(f"{location}.benchmark={name} makes a circle ({circle}); take it out of the parts")
            part = part | {"generator": _resolve(name, document, path, above).generator}
        parts.append(part)
    return generator | {"parts": parts}
