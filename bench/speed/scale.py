"""Measures steps at several numbers of identities: processor seconds, peak memory, and how both grow.

Every measurement, and every preparation of its files, runs in a process of its own: the peak memory of a process cannot
be reset, and a new process starts with that of the process that started it. Measurements are kept in
``measured.jsonl`` of the working folder, so that an interrupted run resumes.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.files import append_text, read_json_lines
from bench.machine.progress import note
from bench.machine.stopwatch import peak_memory_mb
from bench.speed import Row, in_own_process

MEASURED_NAME = "measured.jsonl"


@dataclass(frozen=True)
class Size:
    """Size of an artificial dataset."""

    num_identities: int
    images_per_identity: int

    @property
    def num_images(self) -> int:
        """Number of images."""
        return self.num_identities * self.images_per_identity


def _prepare_nothing(size: Size, folder: Path) -> None:
    """Some steps read no files."""


@dataclass(frozen=True)
class Step:
    """One step of a benchmark that uses no network."""

    name: str
    measure: Callable[[Size, Path], Mapping[str, float]]
    """(size, folder) -> counts that show what was done. Only this is measured."""
    prepare: Callable[[Size, Path], object] = _prepare_nothing
    """(size, folder) -> writes what the step reads, unless it is there."""


def measure_steps(steps: Sequence[Step], sizes: Sequence[Size], folder: Path) -> list[Row]:
    """Measure all steps at all sizes, the smallest size first.

    Args:
        steps: The steps, in the order in which they use each other's files.
        sizes: Numbers of identities and images.
        folder: Working folder. The files of a size are deleted once all steps are measured at it.

    Returns:
        One row per step: seconds and MiB at each size, and the exponents of their growth, see ``growth_rows``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MEASURED_NAME
    lines = read_json_lines(path) if path.exists() else []
    for size in sorted(sizes, key=lambda size: size.num_images):
        size_folder = folder / f"{size.num_identities}x{size.images_per_identity}"
        for step in steps:
            key = {"step": step.name, **asdict(size)}
            if any(key.items() <= line.items() for line in lines):
                continue
            note(f"{step.name}, {size.num_identities:,} identities")
            size_folder.mkdir(exist_ok=True)
            in_own_process(step.prepare, size, size_folder)
            lines.append(key | in_own_process(_measured, step.measure, size, size_folder))
            append_text(path, json.dumps(lines[-1]) + "\n")
            note(f"{step.name}: {lines[-1]}")
        shutil.rmtree(size_folder, ignore_errors=True)
    return growth_rows([step.name for step in steps], sizes, lines)


def _measured(measure: Callable[[Size, Path], Mapping[str, float]], size: Size, folder: Path) -> dict[str, Any]:
    before, start, processor = peak_memory_mb(), time.perf_counter(), time.process_time()
    counts = measure(size, folder)
    return {
        "processor_seconds": time.process_time() - processor,
        "seconds": time.perf_counter() - start,
        "memory_before_mb": before,
        "peak_memory_mb": peak_memory_mb(),
        "counts": dict(counts),
    }


def growth_rows(names: Sequence[str], sizes: Sequence[Size], lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per step from lines of ``measured.jsonl``; None where a step was not measured.

    The exponents compare the two largest sizes: 1 where seconds, or memory beyond that of the imports, grow as the
    number of identities, 2 where they grow as its square.
    """
    rows: list[Row] = []
    for name in names:
        row: dict[str, str | float | None] = {"step": name}
        measured = []
        for size in sizes:
            key = {"step": name, **asdict(size)}
            line = next((line for line in lines if key.items() <= line.items()), None)
            row[f"{size.num_identities:,}: processor s"] = line["processor_seconds"] if line else None
            row[f"{size.num_identities:,}: peak MiB"] = line["peak_memory_mb"] if line else None
            measured += [line] if line else []
        memory = [line["peak_memory_mb"] - line["memory_before_mb"] for line in measured]
        numbers = [line["num_identities"] for line in measured]
        row["seconds grow as N to the"] = _exponent(numbers, [line["processor_seconds"] for line in measured])
        row["memory grows as N to the"] = _exponent(numbers, memory)
        rows.append(row)
    return rows


def _exponent(numbers: Sequence[int], values: Sequence[float]) -> float | None:
    """Exponent k with which the last two values grow as number^k; None if there is only one, or one is not above 0."""
    if len(values) < 2 or min(values[-2:]) <= 0 or numbers[-1] == numbers[-2]:
        return None
    return math.log(values[-1] / values[-2]) / math.log(numbers[-1] / numbers[-2])
