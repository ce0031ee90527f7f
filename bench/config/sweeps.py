"""Schema of sweeps.yaml: one entry asks one question over many runs of benchmarks.

In: the YAML file. Out: a ``Sweep``, checked and frozen, and its settings: each base with each combination of values.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from bench.config.benchmarks import check_folder_name
from bench.config.flags import MAX_SEED
from bench.config.overrides import check_fields, describe_change
from bench.config.settings import Settings
from bench.config.yaml_file import check_entries, describe_mistakes, read_yaml
from bench.errors import InputError
from bench.names import nearest

SWEEPS_PATH = Path(__file__).parent.parent.parent / "sweeps.yaml"
MAX_POINTS = 10_000


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Sweep(Settings):
    """One entry of sweeps.yaml."""

    name: str
    about: str
    base: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        description="entry of benchmarks.yaml that is varied, or a list of them"
    )
    fixed: dict[str, Any] = Field({}, description="dotted field -> value that replaces the base's in all points")
    grid: dict[str, tuple[Any, ...]] = Field({}, description="dotted field -> its values; all combinations are points")
    points: tuple[dict[str, Any], ...] = Field(
        ({},), description="points given one by one, as maps of dotted fields; each is combined with the grid"
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...] = Field(
        (), description="seeds of every point; by default those of the base"
    )

    @model_validator(mode="after")
    def _has_points(self) -> "Sweep":
        if empty := [field for field, values in self.grid.items() if not values]:
            raise ValueError(f"grid.{empty[0]} has no values, so the sweep has no points; give values, or leave it out")
        if not self.points:
            raise ValueError("points is empty, so the sweep has no points; give points, or leave it out")
        for what, values in {"base": self.base, "seeds": self.seeds}.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{what}={list(values)} holds a value twice; give each once")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The dotted fields that differ between points, those of ``points`` first."""
        return tuple(dict.fromkeys([field for point in self.points for field in point] + list(self.grid)))

    def settings(self) -> Iterator[dict[str, Any]]:
        """The values of the varied fields of each setting, in the order of the file."""
        for point in self.points:
            for values in product(*self.grid.values()):
                yield point | dict(zip(self.grid, values, strict=True))


def load_sweep(name: str | None, path: str | Path = SWEEPS_PATH) -> Sweep:
    """Load one sweep by its name.

    Args:
        name: Entry of the file.
        path: The file; by default sweeps.yaml of the project.

    Raises:
        InputError: If the file cannot be read, the name is unknown (the message says the nearest), a field cannot be
            changed, two points are equal, or there are no points or too many.
    """
    entries = _read(path)
    if name is None:
        raise InputError(f"no sweep is named; give SWEEP=NAME, a sweep of {path}: {', '.join(entries)}")
    if name not in entries:
        raise InputError(f"SWEEP={name} is not in {path}; {nearest(name, entries)}")
    location = f"{path}: sweeps.{name}"
    check_entries(entries[name], location)
    try:
        sweep = Sweep.model_validate(entries[name] | {"name": name})
    except ValidationError as error:
        raise InputError(f"{location}: {describe_mistakes(error, Sweep)}; correct the YAML") from None
    _check_points(sweep, location)
    return sweep


def load_sweeps(path: str | Path = SWEEPS_PATH) -> dict[str, Sweep]:
    """Load all sweeps by name; none if the file does not exist."""
    return {name: load_sweep(name, path) for name in _read(path)} if Path(path).exists() else {}


def _read(path: str | Path) -> dict[str, Any]:
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; write the sweeps there, or give --sweeps FILE")
    document = read_yaml(path)
    if not isinstance(document, dict) or set(document) != {"sweeps"}:
        got = sorted(map(str, document))[:10] if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{path} holds {got} at its top level; give exactly sweeps")
    check_entries(document["sweeps"], f"{path}: sweeps")
    for name in document["sweeps"]:
        check_folder_name(name, f"{path}: a sweep")
    return document["sweeps"]


def _check_points(sweep: Sweep, location: str) -> None:
    if twice := {field for point in sweep.points for field in point} & set(sweep.grid):
        raise InputError(f"{location}: {min(twice)} is in points and in grid, which would replace it; keep one")
    seen: dict[str, int] = {}
    for number, values in enumerate(sweep.settings(), start=1):
        if number > MAX_POINTS:
            raise InputError(f"{location} has more than {MAX_POINTS} points; give fewer values")
        check_fields(sweep.fixed | values, location)
        if twice := set(sweep.fixed) & set(values):
            raise InputError(f"{location}: {min(twice)} is fixed and varied; keep one")
        text = " ".join(sorted(describe_change(field, value) for field, value in values.items()))
        if text in seen:
            raise InputError(f"{location}: points {seen[text]} and {number} are equal ({text:.200}); keep one")
        seen[text] = number
