"""Fingerprints: hashes of the declared inputs of every stage, which name its folder.

A fingerprint hashes settings, the fingerprints of the parents and a stage version, never code. Raise the version of a
stage when a change of its code changes numbers.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config.benchmarks import Benchmark
from bench.config.generator import FilesGenerator, is_shipped, weight_path
from bench.config.settings import Settings
from bench.files import sha256
from bench.runs.cards import (
    AuditCard,
    Card,
    DatasetCard,
    GeneratorCard,
    ModelCard,
    ResultCard,
)
from bench.runs.inputs import find_protocol, is_rendered
from bench.runs.stage import Stage, Stages

STAGE_VERSIONS = {"generate": 1, "train": 1, "evaluate": 2, "train_generator": 2, "audit": 1}


def plan_stages(benchmark: Benchmark, *, seed: int, runs: Path, test_sets: Path) -> Stages:
    """The stages of a benchmark, with their folders and fingerprints. Starts nothing and imports no torch.

    Args:
        benchmark: The entry of benchmarks.yaml.
        seed: Seed of generation and training.
        runs: Folder of all runs.
        test_sets: Folder of verification sets. The fingerprint of the evaluation holds the SHA-256 of each that exists.
    """
    root = runs / benchmark.name
    generator = benchmark.generator.model_dump(mode="json")
    if isinstance(benchmark.generator, FilesGenerator):
        generator["state"] = file_state(Path(benchmark.generator.path))
    if shipped := [name for name in benchmark.generator.weight_files if is_shipped(name)]:
        paths = {name: weight_path(name, Path()) for name in shipped}
        generator["sha256"] = {name: sha256(path) if path.exists() else "missing" for name, path in paths.items()}
    dataset_inputs = {"version": STAGE_VERSIONS["generate"], "seed": seed, "generator": generator}
    generate = _stage("generate", root / "faces", DatasetCard, dataset_inputs)
    model_inputs = {
        "version": STAGE_VERSIONS["train"],
        "seed": seed,
        "recipe": benchmark.recipe.model_dump(mode="json"),
        "dataset": generate.fingerprint,
    }
    train = _stage("train", root / "models", ModelCard, model_inputs)
    result_inputs = {
        "version": STAGE_VERSIONS["evaluate"],
        "protocols": _protocol_states(benchmark.protocols, test_sets),
        "model": train.fingerprint,
    }
    return Stages(generate, train, _stage("evaluate", root / "results", ResultCard, result_inputs))


def floor_stages(benchmark: Benchmark, *, runs: Path, test_sets: Path) -> dict[str, Stage]:
    """The two floors of a benchmark: its protocols evaluated on raw pixels, and on the recipe's untrained backbone."""
    shared = {"version": STAGE_VERSIONS["evaluate"], "protocols": _protocol_states(benchmark.protocols, test_sets)}
    results = runs / benchmark.name / "results"
    backbone = benchmark.recipe.backbone.model_dump(mode="json")
    return {
        "raw pixels": _stage("evaluate", results, ResultCard, shared | {"floor": "raw pixels"}),
        "untrained backbone": _stage("evaluate", results, ResultCard, shared | {"floor": backbone}),
    }


def model_stage(model: Path, protocols: Sequence[str], *, runs: Path, test_sets: Path) -> Stage:
    """The evaluation of a weight file that belongs to no benchmark."""
    states = _protocol_states(protocols, test_sets)
    inputs = {"version": STAGE_VERSIONS["evaluate"], "protocols": states, "model": sha256(model)}
    return _stage("evaluate", runs / "models" / "results", ResultCard, inputs)


def generator_stage(inputs: dict[str, Any], *, runs: Path) -> Stage:
    """The training of a generator, which belongs to no benchmark."""
    versioned = {"version": STAGE_VERSIONS["train_generator"]} | inputs
    return _stage("train generator", runs / "generators", GeneratorCard, versioned)


def audit_stage(
    scale: str, source: tuple[str, str], references: dict[str, str], network: dict[str, str] | None, *, runs: Path
) -> Stage:
    """The audit of a face dataset.

    Args:
        scale: Entry of benchmarks.yaml, or the name of a folder for datasets that belong to no entry.
        source: Name and state (digest) of the dataset that is audited.
        references: Name -> state of each dataset that it is compared with.
        network: Name -> SHA-256 of the recognition network and of each estimator; None if only images are looked at.
        runs: Folder of all runs.
    """
    inputs = {
        "version": STAGE_VERSIONS["audit"],
        "dataset": {"name": source[0], "state": source[1]},
        "references": references,
        "network": network,
    }
    return _stage("audit", runs / scale / "audits", AuditCard, inputs)


def recipe_sha256(recipe: Settings) -> str:
    """SHA-256 of a recipe's settings. Two networks whose hashes are equal were trained in the same way."""
    return _digest(recipe.model_dump(mode="json"))


def generator_sha256(settings: dict[str, Any]) -> str:
    """SHA-256 of a generator's settings without the seed. Datasets whose hashes are equal differ in the seed only."""
    return _digest(settings)


def _stage(name: str, parent: Path, card: type[Card], inputs: dict[str, Any]) -> Stage:
    return Stage(name, parent / _digest(inputs)[:16], card, inputs)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _protocol_states(names: Sequence[str], test_sets: Path) -> dict[str, str]:
    return {name: _protocol_state(name, test_sets) for name in names}


def _protocol_state(name: str, test_sets: Path) -> str:
    if is_rendered(name):
        return "rendered"
    path = find_protocol(name, test_sets)
    return "missing" if path is None else sha256(path) if path.is_file() else file_state(path)


def file_state(path: Path) -> str:
    """Size and time of a file, or number and newest time of a folder's entries. Cheap, and changes with the content."""
    if not path.exists():
        return "missing"
    if path.is_file():
        return f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"
    times = [entry.stat().st_mtime_ns for entry in path.iterdir()]
    return f"{len(times)} entries, {max(times, default=0)}"
