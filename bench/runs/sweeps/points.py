"""The points of a sweep: one benchmark with changed fields and one seed each, with the folders of its stages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.benchmarks import Benchmark, load_benchmark
from bench.config.overrides import describe_change
from bench.config.sweeps import Sweep
from bench.runs.fingerprints import plan_stages
from bench.runs.stage import Stages


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    label: str
    """Base, varied fields and seed, such as ``smoke num_identities=70 seed 0``."""
    values: Mapping[str, Any]
    """Varied fields, dotted, and their values."""
    changes: Mapping[str, Any]
    """``values`` and the fields that the sweep changes alike in all points: what ``--set`` gets."""
    seed: int
    benchmark: Benchmark
    stages: Stages


def make_points(sweep: Sweep, *, config: Path, runs: Path, test_sets: Path, seeds: Sequence[int] = ()) -> list[Point]:
    """All points of a sweep, in the order of base, setting and seed. Starts nothing.

    Args:
        sweep: The sweep.
        config: File of benchmarks.
        runs: Folder of all runs.
        test_sets: Folder of test sets.
        seeds: Seeds of every point; by default those of the sweep, or else those of the base.

    Raises:
        InputError: If a base is unknown, or a changed field does not fit its schema.
    """
    titles = short_names(sweep.fields)
    source = f"sweep {sweep.name}"
    points = []
    for base in sweep.base:
        default_seeds = sweep.seeds or load_benchmark(base, config).seeds
        for values in sweep.settings():
            benchmark = load_benchmark(base, config, sweep.fixed | values, source=source)
            texts = [describe_change(titles[field], value) for field, value in values.items()]
            for seed in seeds or default_seeds:
                stages = plan_stages(benchmark, seed=seed, runs=runs, test_sets=test_sets)
                label = " ".join([base, *texts, f"seed {seed}"])
                points.append(Point(label, values, sweep.fixed | values, seed, benchmark, stages))
    return points


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """Dotted field -> its last name, or the whole field where two of them end alike."""
    ends = Counter(_last_name(field) for field in fields)
    return {field: _last_name(field) if ends[_last_name(field)] == 1 else field for field in fields}


def _last_name(field: str) -> str:
    """``sigmas`` of ``generator.perturbation.sigmas``; a position keeps its list: ``sigmas.0``."""
    *parents, last = field.split(".")
    return f"{parents[-1]}.{last}" if last.isdecimal() and parents else last
