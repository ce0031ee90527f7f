"""One stage of a benchmark: its folder, whether it is finished, why it would run, and the lock while it runs."""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.config.benchmarks import Benchmark
from bench.config.generator import FilesGenerator, is_shipped, weight_path
from bench.config.settings import Settings
from bench.errors import InputError
from bench.files import flatten, read_json, sha256, write_json
from bench.machine.device import environment, git_state, process_rank
from bench.runs.cards import (
    CARD_NAMES,
    AuditCard,
    Card,
    DatasetCard,
    GeneratorCard,
    ModelCard,
    ResultCard,
    read_card,
)
from bench.runs.inputs import find_protocol, is_rendered

STAGE_VERSIONS = {"generate": 1, "train": 1, "evaluate": 2, "train_generator": 2, "audit": 1}
_LATEST_KEYS = {"generate": "dataset", "train": "model", "evaluate": "result"}


@dataclass(frozen=True)
class Stage:
    """One stage of one benchmark and seed: what it depends on, and where its result lies."""

    name: str
    directory: Path
    card: type[Card]
    inputs: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Name of the stage's folder: 16 hexadecimal digits."""
        return self.directory.name

    @property
    def is_finished(self) -> bool:
        """Whether the stage's card exists. The card is the last file that a stage writes."""
        return (self.directory / CARD_NAMES[self.card]).exists()

    def card_header(self, *, scale: str, seed: int) -> dict[str, Any]:
        """The fields that every card has, as of this process and machine; the stage adds its cost and its results."""
        return {
            "scale": scale,
            "seed": seed,
            "fingerprint": self.fingerprint,
            "inputs": self.inputs,
            "command": shlex.join(["python", "-m", Path(sys.argv[0]).parent.name, *sys.argv[1:]]),
            "environment": environment(),
            "git": git_state(),
        }

    def reason(self, previous: Path | None) -> str:
        """Why the stage is skipped or runs, as text for the user.

        Args:
            previous: Folder of the last finished run of this stage in any version, or None.
        """
        if self.is_finished:
            return "unchanged"
        if self.directory.exists() and any(self.directory.iterdir()):
            return "was interrupted, goes on"
        if previous is None or not (previous / CARD_NAMES[self.card]).exists():
            return "no result yet"
        before, now = flatten(read_json(previous / CARD_NAMES[self.card])["inputs"]), flatten(self.inputs)
        changes = [
            f"{key} {before.get(key, 'absent')} -> {now.get(key, 'absent')}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        return "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")


@dataclass(frozen=True)
class Stages:
    """The three stages of one benchmark and seed; iterates in the order in which they run."""

    generate: Stage
    train: Stage
    evaluate: Stage

    def __iter__(self) -> Iterator[Stage]:
        return iter((self.generate, self.train, self.evaluate))


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


def closed_recipes(benchmarks: Iterable[Benchmark]) -> set[tuple[str, str]]:
    """Name and hash of each benchmark's recipe. A result trained by one of them is in the closed division."""
    return {(one.recipe_name, recipe_sha256(one.recipe)) for one in benchmarks}


def generator_sha256(settings: dict[str, Any]) -> str:
    """SHA-256 of a generator's settings without the seed. Datasets whose hashes are equal differ in the seed only."""
    return _digest(settings)


def read_latest(runs: Path, scale: str) -> dict[str, Path]:
    """Folders of the last finished benchmark of a scale, by stage name; empty if none has finished."""
    path = runs / scale / "latest.json"
    latest = read_json(path) if path.exists() else {}
    return {name: Path(latest[key]) for name, key in _LATEST_KEYS.items() if key in latest}


def write_latest(runs: Path, scale: str, stages: Stages) -> None:
    """Record a finished benchmark as the last one of its scale, in ``runs/<scale>/latest.json``."""
    write_json(runs / scale / "latest.json", {_LATEST_KEYS[stage.name]: str(stage.directory) for stage in stages})


def check_weights(faces: Stage, weights: Path) -> None:
    """Refuse a finished dataset if a weight file of its generator was replaced since the dataset was made.

    A fingerprint holds the names of weight files, not their digests, so that a machine without the weights can train on
    the faces. Files that are absent are therefore not checked.

    Args:
        faces: The stage that made the dataset.
        weights: Folder of downloaded weights.

    Raises:
        InputError: If the SHA-256 of a file is not the one in the dataset's card.
    """
    if not faces.is_finished:
        return
    for name, provenance in read_card(faces.directory, DatasetCard).weights.items():
        path = weight_path(name, weights)
        if path.exists() and (now := sha256(path)) != provenance.sha256:
            raise InputError(
                f"{faces.directory} was made with another {path} (SHA-256 {provenance.sha256[:12]}, now {now[:12]}); "
                "delete that folder to make the faces again, or put the old file back"
            )


@contextmanager
def stage_lock(directory: Path) -> Iterator[None]:
    """Lock a stage's folder for the block; the lock ends with the process, however it ends.

    Under torchrun the process of rank 0 holds the lock for all.

    Raises:
        InputError: If another run holds the folder, or the folder cannot be written.
    """
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if process_rank()[0] == 0:
            lock.acquire()
    except Timeout:
        raise InputError(f"{directory} is in use by another run; wait for it or choose another RUNS") from None
    except OSError as error:
        raise InputError(f"{directory} cannot be written ({error.strerror}); set RUNS to a folder that can") from None
    try:
        yield
    finally:
        lock.release()


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
