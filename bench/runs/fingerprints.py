"""Fingerprints: hashes of the declared inputs of every stage, which name its folder.

A fingerprint hashes settings, the fingerprints of the parents and a stage version, never code. Raise the version of a
stage when a change of its code changes numbers.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.config.benchmarks import Benchmark
from bench.config.divisions import CapSettings
from bench.config.generator import FilesGenerator, is_shipped, weight_path
from bench.config.mixture import MixtureGenerator, MixturePart
from bench.config.settings import GeneratorSettings, Settings, settings_sha256
from bench.errors import InputError
from bench.faces.mixture.content import content_sha256 as content_sha256
from bench.machine.digests import has_ignored_images, last_change, remembered_sha256
from bench.runs.cards import (
    AuditCard,
    Card,
    DatasetCard,
    GeneratorCard,
    ModelCard,
    ResultCard,
    read_card,
)
from bench.runs.inputs import find_protocol, is_rendered
from bench.runs.stage import Stage, Stages

if TYPE_CHECKING:
    from bench.faces.mixture.mix import Rules
    from bench.faces.mixture.subset import Subset

STAGE_VERSIONS = {"generate": 1, "train": 1, "evaluate": 2, "train_generator": 2, "audit": 3}
TestMode = Literal["norm_weighted", "flip_sum", "no_flip"]
"""How the features of a face and of its mirror image become one embedding.

norm_weighted: their sum, so that each counts by its length; flip_sum: the sum of both at length 1; no_flip: the first
alone. Benchmarks use the first.
"""
_PLACES = ("path", "mask", "leave_out")
"""Fields of a ``files`` generator that name files. The fingerprint holds the digests of the files instead."""


def plan_stages(benchmark: Benchmark, *, seed: int, runs: Path, test_sets: Path) -> Stages:
    """The stages of a benchmark, with their folders and fingerprints. Starts nothing and imports no torch.

    A finished stage of an older version of this suite is used where only the rule of the fingerprint has changed since.

    Args:
        benchmark: The entry of benchmarks.yaml.
        seed: Seed of generation and training.
        runs: Folder of all runs.
        test_sets: Folder of test sets. The fingerprint of the evaluation holds the SHA-256 of each that exists.
    """
    root = runs / benchmark.name
    generate = _dataset_stage(benchmark.generator, seed, root / "faces", benchmark.subset_caps)
    model_inputs = {
        "version": STAGE_VERSIONS["train"],
        "seed": seed,
        "recipe": benchmark.recipe.model_dump(mode="json"),
        "dataset": generate.fingerprint,
    }
    train = _stage("train", root / "models", ModelCard, model_inputs)
    evaluate = _result_stage(root / "results", {"model": train.fingerprint}, benchmark.protocols, test_sets)
    return Stages(
        replace(generate, changes=changes_of(benchmark, "generator")),
        replace(train, changes=changes_of(benchmark, "generator", "recipe")),
        replace(evaluate, changes=changes_of(benchmark, "generator", "recipe", "protocols")),
    )


def changes_of(benchmark: Benchmark, *sections: str) -> tuple[str, ...]:
    """The changes of a benchmark that lie in some of its sections, as FIELD=VALUE."""
    return tuple(text for text in benchmark.changes if re.split("[.=]", text, maxsplit=1)[0] in sections)


def floor_stages(benchmark: Benchmark, *, runs: Path, test_sets: Path) -> dict[str, Stage]:
    """The two floors of a benchmark: its protocols evaluated on raw pixels, and on the recipe's untrained backbone."""
    results = runs / benchmark.name / "results"
    backbone = benchmark.recipe.backbone.model_dump(mode="json")
    floors = {"raw pixels": "raw pixels", "untrained backbone": backbone}
    return {
        name: _result_stage(results, {"floor": network}, benchmark.protocols, test_sets)
        for name, network in floors.items()
    }


def model_stage(
    model: Path, protocols: Sequence[str], *, runs: Path, test_sets: Path, test_mode: TestMode = "norm_weighted"
) -> Stage:
    """The evaluation of a weight file that belongs to no benchmark."""
    network = {"model": remembered_sha256(model)}
    network |= {} if test_mode == "norm_weighted" else {"test_mode": test_mode}
    return _result_stage(runs / "models" / "results", network, protocols, test_sets)


def generator_stage(inputs: dict[str, Any], *, runs: Path) -> Stage:
    """The training of a generator, which belongs to no benchmark."""
    versioned = {"version": STAGE_VERSIONS["train_generator"]} | inputs
    return _stage("train generator", runs / "generators", GeneratorCard, versioned)


def audit_stage(
    scale: str,
    source: tuple[str, str],
    references: dict[str, str],
    network: dict[str, str] | None,
    *,
    others: dict[str, Any] | None = None,
    runs: Path,
) -> Stage:
    """The audit of a face dataset.

    Args:
        scale: Entry of benchmarks.yaml, or the name of a folder for datasets that belong to no entry.
        source: Name and state (digest) of the dataset that is audited.
        references: Name -> state of each dataset that it is compared with.
        network: Name -> SHA-256 of the recognition network and of each estimator; None if only images are looked at.
        others: Further inputs by their role: the real faces to measure quality against, the second network.
        runs: Folder of all runs.
    """
    inputs = {
        "version": STAGE_VERSIONS["audit"],
        "dataset": {"name": source[0], "state": source[1]},
        "references": references,
        "network": network,
    } | (others or {})
    return _stage("audit", runs / scale / "audits", AuditCard, inputs)


def recipe_sha256(recipe: Settings) -> str:
    """SHA-256 of a recipe's settings. Two networks whose hashes are equal were trained in the same way."""
    return settings_sha256(recipe)


def generator_sha256(settings: dict[str, Any]) -> str:
    """SHA-256 of a generator's settings without the seed. Datasets whose hashes are equal differ in the seed only.

    Args:
        settings: ``inputs["generator"]`` of a dataset's card.
    """
    settings = _without_places(settings)
    if settings.get("kind") == "mixture":  # a part's fingerprint depends on its seed; this hash must not
        parts = [part | {"contents": _without(part["contents"], "fingerprint")} for part in settings["parts"]]
        settings = settings | {"parts": parts}
    return _digest(settings)


def part_stage(part: MixturePart, *, seed: int, runs: Path) -> Stage:
    """The stage that makes the faces of a mixture's part, which names a benchmark.

    Args:
        part: The part.
        seed: Seed of the run; a seed of the part goes before it.
        runs: Folder of all runs.
    """
    if part.generator is None or part.benchmark is None:
        raise ValueError(f"part {part.label} names no benchmark")
    own_seed = seed if part.seed is None else part.seed
    return _dataset_stage(part.generator, own_seed, runs / part.benchmark / "faces")


def mixture_rules(settings: MixtureGenerator) -> "Rules":
    """How the parts of a mixture are put together.

    Raises:
        InputError: If the settings contradict each other.
    """
    from bench.faces.mixture.budget import Budget
    from bench.faces.mixture.mix import Rules
    from bench.faces.mixture.subset import Caps

    return Rules(
        Budget(settings.total_images, settings.keep_real, settings.filled_by),
        Caps(**settings.caps.model_dump()) if settings.caps else Caps(),
        settings.shared_identities,
        Path(settings.same_people) if settings.same_people else None,
    )


def part_subset(part: MixturePart) -> "Subset":
    """How much of a part's dataset to take.

    Raises:
        InputError: If the numbers contradict each other.
    """
    from bench.faces.mixture.subset import Subset

    try:
        return Subset(
            part.identities, part.images_per_identity, part.min_images_per_identity, part.max_images_per_identity
        )
    except InputError as error:
        raise InputError(f"part {part.label}: {error}") from None


def _mixture_stage(settings: MixtureGenerator, seed: int, parent: Path) -> Stage:
    """The mixing of datasets; its fingerprint holds the contents of path parts and the fingerprints of benchmarks."""
    from bench.faces.mixture.budget import PartSize, check_shares  # imports NumPy, which --help can do without

    sizes = [PartSize(part.label, 0, part.share, part.real) for part in settings.parts]
    try:
        check_shares(sizes, mixture_rules(settings).budget)
        for part in settings.parts:
            part_subset(part)
    except InputError as error:
        raise InputError(f"mixture {parent.parent.name}: {error}") from None
    generator = settings.model_dump(mode="json")
    for part, entry in zip(settings.parts, generator["parts"], strict=True):
        entry["contents"] = _contents(part, seed, parent.parent.parent)
    if settings.same_people:
        generator["sha256"] = {"same_people": content_sha256(Path(settings.same_people))}
    inputs = {"version": STAGE_VERSIONS["generate"], "seed": seed, "generator": generator}
    contents = inputs | {"generator": _without_places(generator)}
    return Stage("generate", parent / _digest(contents)[:16], DatasetCard, inputs)


def _contents(part: MixturePart, seed: int, runs: Path) -> dict[str, Any]:
    """Fingerprint or content digests of a part's faces, for the fingerprint of its mixture."""
    if part.benchmark is not None:
        stage = part_stage(part, seed=seed, runs=runs)
        return {
            "fingerprint": stage.fingerprint,
            "generator_sha256": generator_sha256(stage.inputs["generator"]),
        }
    return {name: content_sha256(Path(value)) for name in _PLACES if (value := getattr(part, name))}


def _dataset_stage(settings: GeneratorSettings, seed: int, parent: Path, caps: CapSettings | None = None) -> Stage:
    """The stage of a dataset. ``caps`` are those of its division, if a larger dataset is cut down to them."""
    if isinstance(settings, MixtureGenerator):
        return _mixture_stage(settings, seed, parent)
    generator = settings.model_dump(mode="json")
    version = STAGE_VERSIONS["generate"]
    if not isinstance(settings, FilesGenerator):
        if shipped := [name for name in settings.weight_files if is_shipped(name)]:
            generator["sha256"] = {name: content_sha256(weight_path(name, Path())) for name in shipped}
        inputs = {"version": version, "seed": seed, "generator": generator}
        return _stage("generate", parent, DatasetCard, inputs)
    files = {name: Path(value) for name in _PLACES if (value := getattr(settings, name))}
    digests = {name: content_sha256(path) for name, path in files.items()}
    inputs = {"version": version, "seed": seed, "generator": generator | {"sha256": digests}}
    inputs |= {"caps": caps} if caps else {}
    contents = inputs | {"generator": _without_places(generator | {"sha256": digests})}
    stage = Stage("generate", parent / _digest(contents)[:16], DatasetCard, inputs)
    old_inputs = inputs | {"generator": generator | {"state": _file_state(files["path"])}}
    if _was_read_alike(settings):
        return _adopt(stage, _stage("generate", parent, DatasetCard, old_inputs), list(files.values()))
    return stage


def _result_stage(parent: Path, network: dict[str, Any], protocols: Sequence[str], test_sets: Path) -> Stage:
    """The evaluation of a network, which is described by ``network``, on test sets."""
    paths = {name: None if is_rendered(name) else find_protocol(name, test_sets) for name in protocols}
    states, old_states = {}, {}
    for name, path in paths.items():
        if path is None:
            states[name] = old_states[name] = "rendered" if is_rendered(name) else "missing"
        else:
            states[name] = _protocol_sha256(path)
            old_states[name] = remembered_sha256(path) if path.is_file() else _file_state(path)
    shared = {"version": STAGE_VERSIONS["evaluate"], **network}
    stage = _stage("evaluate", parent, ResultCard, shared | {"protocols": states})
    old = _stage("evaluate", parent, ResultCard, shared | {"protocols": old_states})
    return _adopt(stage, old, [_folder_of_test_set(path) for path in paths.values() if path])


def _protocol_sha256(path: Path) -> str:
    """SHA-256 of a test set's content. That of a pairs file includes the images of its folder."""
    if path.suffix != ".txt":
        return content_sha256(path)
    return _digest([remembered_sha256(path), remembered_sha256(_folder_of_test_set(path), without=".txt")])


def _folder_of_test_set(path: Path) -> Path:
    """The path itself; for a pairs file the folder of its images, as ``evaluate.layouts.pairs`` finds them."""
    if path.suffix != ".txt":
        return path
    folder = path.parent
    of_rfw = folder.parent.parent / "data" / folder.name
    return of_rfw if folder.parent.name == "txts" and of_rfw.is_dir() else folder


def _adopt(stage: Stage, old: Stage, sources: Sequence[Path]) -> Stage:
    """The stage in the folder of an older version of this suite, if it was finished there with the same inputs.

    Args:
        stage: The stage by today's rule of fingerprints.
        old: The stage by the rule until version 0.1, which hashed paths, sizes and times of files, not their contents.
        sources: Files and folders that the stage reads. None may have changed since it finished.
    """
    if stage.is_finished or not old.is_finished:
        return stage
    finished = datetime.fromisoformat(read_card(old.directory, old.card).created_utc).timestamp()
    is_unchanged = all(last_change(path) <= finished for path in sources)
    return replace(stage, directory=old.directory) if is_unchanged else stage


def _was_read_alike(settings: FilesGenerator) -> bool:
    """Whether older versions read the same faces: they read hidden images, and split names to leave out at spaces."""
    path = Path(settings.path)
    if path.is_dir() and has_ignored_images(path):
        return False
    if settings.leave_out is None or not Path(settings.leave_out).is_file():
        return True
    text = Path(settings.leave_out).read_text(encoding="utf-8", errors="replace")
    return text.split() == [line for line in text.splitlines() if line]


def _without_places(generator: dict[str, Any]) -> dict[str, Any]:
    """Settings of a generator without the paths of files whose digests they hold: contents count, not paths."""
    if generator.get("kind") == "mixture":
        return _without(generator, "same_people") | {"parts": [_without(part, *_PLACES) for part in generator["parts"]]}
    if generator.get("kind") != "files" or "sha256" not in generator:
        return generator
    return _without(generator, *_PLACES)


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _stage(name: str, parent: Path, card: type[Card], inputs: dict[str, Any]) -> Stage:
    return Stage(name, parent / _digest(inputs)[:16], card, inputs)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _file_state(path: Path) -> str:
    """State of a path in fingerprints until version 0.1: size and time of a file, or number and newest of entries.

    It misses changes below the first level of a folder, and is used only to find finished runs of older versions.
    """
    if not path.exists():
        return "missing"
    if path.is_file():
        return f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"
    times = [entry.stat().st_mtime_ns for entry in path.iterdir()]
    return f"{len(times)} entries, {max(times, default=0)}"
