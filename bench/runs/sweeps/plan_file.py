"""``runs/sweeps/NAME/plan.json``: the points of a sweep, the folders of their stages, and the state of each."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bench.config.sweeps import Sweep
from bench.errors import InputError
from bench.files import read_model, write_json
from bench.machine.facts import Section
from bench.runs.sweeps.points import Point

PLAN_NAME = "plan.json"
SCHEMA_VERSION = 1


class PlannedPoint(Section):
    """One point of the plan. Folders are relative to RUNS, with slashes."""

    label: str
    base: str
    seed: int
    values: dict[str, Any] = Field(description="varied fields, dotted, and their values")
    dataset: str
    model: str
    result: str
    state: Literal["planned", "finished", "failed"] = "planned"
    problem: str | None = Field(None, description="why it failed, in one line")


class SweepPlan(Section):
    """The content of plan.json."""

    schema_version: int = SCHEMA_VERSION
    name: str
    about: str
    bases: tuple[str, ...]
    fixed: dict[str, Any] = Field(description="fields to which all points give the same new value")
    fields: tuple[str, ...] = Field(description="fields that differ between points, dotted")
    points: tuple[PlannedPoint, ...]
    written_utc: str


def make_plan(sweep: Sweep, points: Iterable[Point], runs: Path, problems: Mapping[str, str]) -> SweepPlan:
    """The plan as of now.

    Args:
        sweep: The sweep.
        points: Its points.
        runs: Folder of all runs.
        problems: Label of each point that failed -> the reason.
    """
    planned = tuple(_describe_point(point, runs, problems.get(point.label)) for point in points)
    return SweepPlan(
        name=sweep.name,
        about=sweep.about,
        bases=sweep.base,
        fixed=sweep.fixed,
        fields=sweep.fields,
        points=planned,
        written_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _describe_point(point: Point, runs: Path, problem: str | None) -> PlannedPoint:
    folders = [stage.directory.relative_to(runs).as_posix() for stage in point.stages]
    is_finished = all(stage.is_finished for stage in point.stages)
    return PlannedPoint(
        label=point.label,
        base=point.benchmark.name,
        seed=point.seed,
        values=dict(point.values),
        dataset=folders[0],
        model=folders[1],
        result=folders[2],
        state="finished" if is_finished else "failed" if problem else "planned",
        problem=None if is_finished else problem,
    )


def sweep_dir(name: str, runs: Path) -> Path:
    """Folder of a sweep, whether it exists or not."""
    return runs / "sweeps" / name


def write_plan(directory: Path, plan: SweepPlan) -> None:
    """Write plan.json into the folder of a sweep."""
    write_json(directory / PLAN_NAME, plan.model_dump(mode="json"))


def read_plan(directory: Path) -> SweepPlan:
    """Read the plan of a sweep.

    Raises:
        InputError: If the file is missing, of a newer version or does not fit its schema.
    """
    path = directory / PLAN_NAME
    if not path.exists():
        raise InputError(f"{path} does not exist; run the sweep first: make sweep SWEEP={directory.name}")
    advice = "delete it and run the sweep again"
    return read_model(path, SweepPlan, schema_version=SCHEMA_VERSION, advice=advice)


def read_plans(root: Path) -> list[SweepPlan]:
    """The plans of all sweeps below ``root``/sweeps, by name.

    Args:
        root: Folder of runs, or of committed reports.
    """
    return [read_plan(path.parent) for path in sorted((root / "sweeps").glob(f"*/{PLAN_NAME}"))]
