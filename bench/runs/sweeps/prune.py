"""Find the runs that nothing names any more, with their size, and delete them on request.

A folder of faces, of a network or of results below RUNS/SCALE is named if an entry of benchmarks.yaml with any seed, a
sweep, or a latest.json leads to it, or if it is a parent of a named folder. Every result of a named network is named,
whatever its test sets. A run with SET that belongs to no sweep is named only while latest.json leads to it. While a
given dataset of an entry is missing, its fingerprints are unknown, so all its runs are named.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.benchmarks import FOLDERS_OF_RUNS, Benchmark, load_benchmarks
from bench.config.sweeps import load_sweeps
from bench.errors import InputError
from bench.files import read_json_object
from bench.machine.progress import note
from bench.runs.cards import CARD_NAMES, DatasetCard, ModelCard, ResultCard, read_card
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import missing_faces
from bench.runs.parents import parent_of_model
from bench.runs.stage import Stages, read_latest, stage_lock
from bench.runs.sweeps.plan_file import read_plans
from bench.runs.sweeps.points import make_points

_SEEDS = range(10)
"""Seeds for which interrupted runs of an entry count as named; finished runs count with any seed."""
_KINDS = ("faces", "models", "results")


@dataclass(frozen=True)
class UnnamedRun:
    """A folder that nothing names."""

    directory: Path
    num_bytes: int
    """Disk space of its files."""


def find_unnamed(*, runs: Path, config: Path, sweeps: Path, test_sets: Path) -> list[UnnamedRun]:
    """Folders of faces, networks and results that no benchmark, sweep or latest.json names, the largest first.

    Args:
        runs: Folder of all runs.
        config: File of benchmarks.
        sweeps: File of sweeps; it may be missing.
        test_sets: Folder of test sets.

    Raises:
        InputError: If one of the files, a plan or a card is broken, so that it is unknown what it names.
    """
    scales = [path for path in sorted(runs.glob("*")) if path.is_dir() and path.name not in FOLDERS_OF_RUNS]
    named: set[Path] = set()
    entries: dict[str, list[Benchmark]] = {}
    benchmarks = load_benchmarks(config)
    for scale in scales:
        named |= set(read_latest(runs, scale.name).values())
        if scale.name in benchmarks:
            benchmark = benchmarks[scale.name]
            entries.setdefault(scale.name, []).append(benchmark)
            for seed in sorted({*benchmark.seeds, *_SEEDS, *_seeds_of_cards(scale)}):
                named |= _folders(plan_stages(benchmark, seed=seed, runs=runs, test_sets=test_sets))
    for sweep in load_sweeps(sweeps).values():
        if any((runs / base).is_dir() for base in sweep.base):
            for point in make_points(sweep, config=config, runs=runs, test_sets=test_sets):
                named |= _folders(point.stages)
                entries.setdefault(point.benchmark.name, []).append(point.benchmark)
    for plan in read_plans(runs):
        named |= {runs / folder for point in plan.points for folder in (point.dataset, point.model, point.result)}
    named = {path.resolve() for path in named}
    needed = {folder for scale in scales for folder in _needed_of(scale, named, entries.get(scale.name, []))}
    needed |= _parts_of(needed, runs)
    folders = [folder for scale in scales for folder in _stage_folders(scale, *_KINDS)]
    unnamed = [UnnamedRun(folder, _disk_bytes(folder)) for folder in folders if folder not in needed]
    return sorted(unnamed, key=lambda run: (-run.num_bytes, run.directory))


def prune(unnamed: Sequence[UnnamedRun], *, deletes: bool) -> Iterator[str]:
    """List unnamed runs, or delete them. A folder in which a process works is left alone.

    Args:
        unnamed: What ``find_unnamed`` found.
        deletes: Whether to delete.

    Yields:
        Lines for the terminal.
    """
    freed = 0
    for run in unnamed:
        if not deletes:
            yield f"{format_bytes(run.num_bytes):>9}  {run.directory}"
            continue
        try:
            with stage_lock(run.directory):
                shutil.rmtree(run.directory)
        except InputError:
            yield f"{'in use':>9}  {run.directory}"
            continue
        freed += run.num_bytes
        yield f"{'deleted':>9}  {run.directory}"
    total = sum(run.num_bytes for run in unnamed)
    if deletes:
        yield f"{format_bytes(freed)} freed"
    else:
        advice = "; --yes deletes them" if unnamed else ""
        yield f"{len(unnamed)} runs that nothing names, {format_bytes(total)}{advice}"


def _folders(stages: Stages) -> set[Path]:
    return {stage.directory for stage in stages}


def _seeds_of_cards(scale: Path) -> set[int]:
    """Seeds of the finished datasets and networks of a scale."""
    datasets = {read_card(path, DatasetCard).seed for path in scale.glob("faces/*/dataset.json")}
    return datasets | {read_card(path, ModelCard).seed for path in scale.glob("models/*/model.json")}


def _needed_of(scale: Path, named: set[Path], entries: Sequence[Benchmark]) -> set[Path]:
    """Folders of a scale that are named or belong to one that is; all of them while a dataset of an entry is missing.

    Args:
        scale: ``runs/<scale>``.
        named: Folders that are named, resolved.
        entries: The scale's entry of benchmarks.yaml, and its variants in sweeps.
    """
    missing = next((item for entry in entries for item in missing_faces(entry.generator)), None)
    if missing is not None:
        note(f"{scale.name}: all runs are kept while {missing.path} is missing")
        return set(_stage_folders(scale, *_KINDS))
    backbones = [entry.recipe.backbone.model_dump(mode="json") for entry in entries]
    models = {folder for folder in _stage_folders(scale, "models") if folder.resolve() in named}
    results = list(_stage_folders(scale, "results"))
    needed = {folder for folder in results if folder.resolve() in named}
    for folder in results:
        path = folder / CARD_NAMES[ResultCard]
        inputs = read_json_object(path).get("inputs", {}) if path.exists() else {}
        model = scale / "models" / str(inputs.get("model"))
        if folder in needed and model.is_dir():
            models.add(model)
        is_floor = inputs.get("floor") == "raw pixels" or inputs.get("floor") in backbones
        if model in models or is_floor:
            needed.add(folder)
    datasets = {folder for folder in _stage_folders(scale, "faces") if folder.resolve() in named}
    for model in models:
        if (model / CARD_NAMES[ModelCard]).exists():
            _, dataset = parent_of_model(scale, read_card(model, ModelCard))
            datasets |= {dataset} if dataset else set()
    return needed | models | datasets


def _parts_of(needed: set[Path], runs: Path) -> set[Path]:
    """Folders of the faces that the mixtures among ``needed`` take from other benchmarks, and so on for their parts."""
    parts: set[Path] = set()
    for path in (folder / CARD_NAMES[DatasetCard] for folder in needed):
        generator = read_card(path, DatasetCard).inputs.get("generator", {}) if path.exists() else {}
        for part in generator.get("parts", ()):
            if fingerprint := part.get("contents", {}).get("fingerprint"):
                parts.add(runs / part["benchmark"] / "faces" / fingerprint)
    return parts | _parts_of(parts, runs) if parts else parts


def _stage_folders(scale: Path, *names: str) -> Iterator[Path]:
    """Folders whose name is a fingerprint; others were not made by the suite."""
    for name in names:
        for folder in sorted((scale / name).glob("*")):
            if folder.is_dir() and len(folder.name) == 16 and not set(folder.name) - set("0123456789abcdef"):
                yield folder


def format_bytes(number: int) -> str:
    """A number of bytes in kB, MB or GB (powers of 1000)."""
    unit, size = next(((unit, size) for unit, size in (("GB", 1e9), ("MB", 1e6)) if number >= size), ("kB", 1e3))
    return f"{number / size:.1f} {unit}"


def _disk_bytes(folder: Path) -> int:
    return sum(512 * path.lstat().st_blocks for path in folder.rglob("*") if path.is_file())
