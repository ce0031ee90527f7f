"""What a rehearsal measured on this machine: ``RUNS/rehearsals/SCALE.json``, which ``make plan`` reads."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, Field

from bench.config.benchmarks import Benchmark
from bench.files import write_json
from bench.machine.facts import Section

_FOLDER = "rehearsals"


class Measured(Section):
    """Rates, memory and disk of the stages of one benchmark, each None where it was not rehearsed."""

    settings: str
    """Digest of generator and recipe, see ``settings_digest``."""
    created_utc: AwareDatetime
    device: str
    """Device and number of processes, as text for the plan."""
    num_processes: int
    is_gpu: bool = False
    """Whether the stages ran on a GPU."""
    generate_images_per_second: float | None = None
    without_attrop_images_per_second: float | None = None
    train_images_per_second: float | None = None
    evaluate_images_per_second: float | None = None
    memory_gb: dict[str, float] = Field(default_factory=dict)
    """Stage -> largest main memory of a process, GB."""
    gpu_memory_gb: dict[str, float] = Field(default_factory=dict)
    """Stage -> largest memory of a process on its GPU, GB."""
    bytes_per_image: float | None = None
    """Size of the face dataset, per image."""
    largest_micro_batch: int | None = None
    """Largest micro-batch of training that fits into memory; None if a process's whole share of the batch fits."""
    problems: list[str] = Field(default_factory=list)
    """What would stop the real run."""

    @property
    def age(self) -> str:
        """How long ago it was measured, as in ``3 minutes ago``."""
        minutes = (datetime.now(UTC) - self.created_utc).total_seconds() / 60
        for unit, size in (("days", 1440), ("hours", 60)):
            if minutes >= 2 * size:
                return f"{minutes / size:.0f} {unit} ago"
        return f"{max(0, round(minutes))} minutes ago"


def settings_digest(benchmark: Benchmark) -> str:
    """Digest of what decides the speed of a benchmark: generator and recipe."""
    parts = [part.model_dump(mode="json") for part in (benchmark.generator, benchmark.recipe)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def write_measured(runs: Path, scale: str, measured: Measured) -> Path:
    """Write the measurements of a rehearsal; returns the path."""
    path = runs / _FOLDER / f"{scale}.json"
    write_json(path, measured.model_dump(mode="json"))
    return path


def read_measured(runs: Path, benchmark: Benchmark) -> Measured | None:
    """What the last rehearsal of a benchmark measured; None without one, or if the settings have changed since."""
    path = runs / _FOLDER / f"{benchmark.name}.json"
    if not path.exists():
        return None
    try:
        measured = Measured.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError:  # damaged, or of another version: rehearse again
        return None
    return measured if measured.settings == settings_digest(benchmark) else None
