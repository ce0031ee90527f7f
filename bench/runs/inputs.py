"""Files that a benchmark needs and the repository does not hold: test sets, weights, faces; and where to get each."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.benchmarks import OTHER_NAMES, Benchmark
from bench.config.catalogue import load_catalogue
from bench.config.generator import (
    PLUS_GENERATOR,
    RENDER_VERSION,
    FilesGenerator,
    Vec2FaceGenerator,
    is_shipped,
    weight_path,
)
from bench.config.mixture import MixtureGenerator, MixturePart
from bench.config.poses import PLUS_POSE
from bench.config.settings import GeneratorSettings
from bench.errors import InputError, python_command
from bench.files import exists
from bench.runs.hub import HubFile, fetch
from bench.runs.launch import run_command

RENDERED_PREFIX = "render_"
_RENDERED_PEOPLE = ("render_groups", "render_gallery")
"""Rendered test sets that hold no pairs."""
TEST_SETS_ON_THE_HUB = {
    name: HubFile(f"{name}.bin", "gaunernst/face-recognition-eval", "dataset")
    for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw")
}
"""Test sets that ``python -m evaluate fetch`` downloads; evaluate/test_sets/registry.py has the sources of others."""

_PREPARED = ("centers.npy", "deviations.npy")
"""Files that ``python -m generate prepare`` writes beside a training set."""
_VARIATION = ("seen_often.npy", "differences.npy")
"""Files that ``python -m generate variation`` writes beside a training set."""

_FETCH_NAMES = {
    PLUS_GENERATOR: "plus-generator",
    PLUS_POSE: "plus-pose",
    "center_feature_examples.npy": "center-features",
}
"""File -> what ``python -m generate fetch`` calls it; it is downloaded only when named on the command line."""


@dataclass(frozen=True)
class MissingInput:
    """A file without which a benchmark cannot start, and how to get it."""

    name: str
    path: Path
    source: str

    def __str__(self) -> str:
        return f"{self.name} is missing: {self.source.replace('{path}', str(self.path))}"


def is_rendered(protocol: str) -> bool:
    """Whether the suite renders this protocol itself, so that no file is needed."""
    return protocol.startswith(RENDERED_PREFIX)


def is_rendered_pairs(protocol: str) -> bool:
    """Whether this is a rendered protocol of pairs, which has an accuracy; groups and galleries have none."""
    return is_rendered(protocol) and protocol not in _RENDERED_PEOPLE


def find_protocol(name: str, test_sets: Path) -> Path | None:
    """Path of the test set called ``name``, or None if there is none.

    It is a ``.bin``, ``.xz`` or ``.parquet`` file, a folder, or a pairs file of a folder: ``cfp_fp`` is also
    ``cfp/pairs_FP.txt``, and ``rfw_asian`` is ``rfw/txts/Asian/Asian_pairs.txt``, as RFW's authors lay it out. A set
    that was renamed is also found by its other name: ``hadrian`` is ``hadrian_even.xz``.
    """
    other_names = [other for other, current in OTHER_NAMES.items() if current == name]
    return next((path for each in (name, *other_names) if (path := _find_file(each, test_sets))), None)


def _find_file(name: str, test_sets: Path) -> Path | None:
    folder, _, list_name = name.rpartition("_")
    candidates = (
        test_sets / f"{name}.bin",
        test_sets / f"{name}.xz",
        test_sets / f"{name}.parquet",
        test_sets / name,
        test_sets / folder / f"pairs_{list_name.upper()}.txt",
        test_sets / folder / "txts" / list_name.title() / f"{list_name.title()}_pairs.txt",
    )
    return next((path for path in candidates if exists(path)), None)


def rendered_protocol_path(name: str, runs: Path) -> Path:
    """Folder of a rendered protocol, whether it exists or not."""
    return runs / "protocols" / f"render_v{RENDER_VERSION}" / name


def how_to_render(name: str) -> str:
    """What to do where a rendered test set does not exist, as an instruction for a message."""
    path = rendered_protocol_path(name, Path("runs"))
    return f"render it with {python_command(f'generate protocols {name}')}, and give {path}"


def make_rendered_protocols(names: Iterable[str], runs: Path, launcher: Sequence[str] = (sys.executable, "-m")) -> None:
    """Render those of the named protocols that are rendered and do not exist yet, by ``python -m generate protocols``.

    Several launches may call this at once: the first one renders, the others wait. Under torchrun, all processes must
    call this, and share the work.

    Args:
        names: Names of protocols.
        runs: Folder of all runs.
        launcher: Words of the command line before ``generate``, as of ``bench.runs.launch.launcher``.

    Raises:
        SystemExit: With the status of the command, which has said why it failed.
    """
    missing = [name for name in names if is_rendered(name) and not rendered_protocol_path(name, runs).exists()]
    if missing:
        command = [*launcher, "generate", "protocols", *missing, "--runs", str(runs)]
        if status := run_command(command, is_quiet=True):
            sys.exit(status)


def protocol_path(name: str, *, test_sets: Path, runs: Path) -> Path:
    """File or folder of a protocol, rendered if need be. All processes of a launch must call this.

    Raises:
        InputError: If it is a test set that does not exist.
    """
    if is_rendered(name):
        make_rendered_protocols([name], runs)
        return rendered_protocol_path(name, runs)
    path = find_protocol(name, test_sets)
    if path is None:
        raise InputError(
            f"no {name} in {test_sets}; run {how_to_fetch(name, test_sets)}, save it there as {name}.bin, "
            "or set TEST_SETS to the folder that holds it"
        )
    return path


def missing_inputs(benchmark: Benchmark, *, test_sets: Path, weights: Path) -> list[MissingInput]:
    """Every file that the benchmark needs and that does not exist, with where to get it."""
    generator = benchmark.generator
    missing = list(dict.fromkeys(missing_faces(generator)))
    for weight_file in generator.weight_files:
        path = weight_path(weight_file, weights)
        if not path.exists():
            missing.append(MissingInput(path.name, path, _source_of_weights(weight_file, weights)))
    for name in benchmark.protocols:
        if not is_rendered(name) and find_protocol(name, test_sets) is None:
            on_hub = TEST_SETS_ON_THE_HUB.get(name)
            source = "get it from its publisher and save it as {path}"
            if on_hub:
                source = f"run {how_to_fetch(name, test_sets)}, or download {on_hub.page}, to {{path}}"
            missing.append(MissingInput(name, test_sets / f"{name}.bin", source))
    return missing


def how_to_fetch(name: str, test_sets: Path) -> str:
    """The command that downloads a test set, for messages."""
    return python_command(f"evaluate fetch {name}" + _folder_flag("--test-sets", test_sets))


def missing_error(summary: str, missing: Sequence[MissingInput], *advice: str) -> InputError:
    """An error that lists missing inputs, a line each, below its summary and before the advice."""
    error = InputError(summary)
    for line in (*map(str, missing), *advice):
        error.add_note(f"  {line}")
    return error


def _folder_flag(flag: str, folder: Path) -> str:
    """The flag for a folder as part of a command; nothing for the default folder."""
    is_default = folder == Path(flag.removeprefix("--").replace("-", "_"))
    return "" if is_default else f" {flag} {shlex.quote(str(folder))}"


def missing_faces(generator: GeneratorSettings) -> Iterator[MissingInput]:
    """The datasets, masks and lists that do not exist, of the generator itself or of the parts of a mixture."""
    if isinstance(generator, FilesGenerator):
        yield from _missing_files(generator)
    if not isinstance(generator, MixtureGenerator):
        return
    for part in generator.parts:
        yield from missing_faces(part.generator) if part.generator else _missing_files(part)
    if generator.same_people and not Path(generator.same_people).exists():
        advice = "save the text file of identities as {path}, or leave out generator.same_people"
        yield MissingInput("same_people", Path(generator.same_people), advice)


def _missing_files(given: FilesGenerator | MixturePart) -> Iterator[MissingInput]:
    files = {"face dataset": given.path, "mask": given.mask, "leave_out": given.leave_out}
    advice = {
        "face dataset": "get it from its publisher and save it as {path}",
        "mask": "save the .npy of positions as {path}, or leave out generator.mask",
        "leave_out": "save the text file of identity names as {path}, or leave out generator.leave_out",
    }
    for name, file in files.items():
        if file is not None and _is_missing(Path(file)):
            yield MissingInput(name, Path(file), advice[name])


def _is_missing(path: Path) -> bool:
    """Whether nothing is there. A disk that is not mounted leaves an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def fetch_inputs(benchmark: Benchmark, *, test_sets: Path, weights: Path) -> Iterator[str]:
    """Download every weight file, published dataset and test set of a benchmark that is missing and that the Hub has.

    Afterwards the benchmark runs on machines without a network.

    Yields:
        A line per file that was downloaded, and one at the end.

    Raises:
        InputError: If a download fails, or inputs remain that the Hub does not have; the message lists them.
        SystemExit: With the status of ``python -m evaluate fetch`` if that failed; it has said why.
    """
    for name, revision in _files_of(benchmark.generator):
        path, file = weight_path(name, weights), _find_on_the_hub(name)
        if file is not None and not path.exists():
            yield f"fetch: {fetch(file, path.parent, revision=revision)}"
    on_hub = [name for name in benchmark.protocols if name in TEST_SETS_ON_THE_HUB]
    lacking = [name for name in on_hub if find_protocol(name, test_sets) is None]
    if lacking:
        command = [sys.executable, "-m", "evaluate", "fetch", *lacking, "--test-sets", str(test_sets)]
        if status := run_command(command):
            sys.exit(status)
    missing = missing_inputs(benchmark, test_sets=test_sets, weights=weights)
    if missing:
        raise missing_error(
            f"SCALE={benchmark.name} still lacks {len(missing)} inputs that the Hub does not have:", missing
        )
    yield f"fetch: {benchmark.name} has all its inputs"


def _files_of(generator: GeneratorSettings) -> Iterator[tuple[str, str]]:
    """Names of the files in WEIGHTS that a generator reads, also for the parts of a mixture, each with its revision.

    A published dataset is such a file too.
    """
    if isinstance(generator, MixtureGenerator):
        for part in generator.parts:
            if part.generator is not None:
                yield from _files_of(part.generator)
        return
    names = generator.weight_files
    if isinstance(generator, Vec2FaceGenerator) and generator.source == "hub":
        names = [f"{generator.dataset_family.lower()}{generator.num_identities // 1000}k.lmdb"]
    revision = generator.revision if isinstance(generator, Vec2FaceGenerator) else "main"
    yield from ((name, revision) for name in names)


def _find_on_the_hub(name: str) -> HubFile | None:
    """The file of catalogue.yaml that is saved under this name in WEIGHTS; None if it has none."""
    files = (HubFile(path, repository, kind) for kind, repository, path in load_catalogue().addresses)
    return next((file for file in files if file.local_name == name), None)


def _source_of_weights(file: str, weights: Path) -> str:
    if is_shipped(file):
        return "restore {path} from the repository, or run make assets"
    folder = shlex.quote(str((weights / file).parent))
    if Path(file).name in _PREPARED:
        command, what = f"generate prepare --out {folder}", " on the generator's training faces"
    elif Path(file).name in _VARIATION:
        command, what = f"generate variation --prepared {folder}", ""
    elif Path(file).name == "identity.onnx":
        command, what = (
            f"generate appearance --out {shlex.quote(str(weights / file))}",
            " on an identity network and the training faces",
        )
    elif Path(file).name == "generator.safetensors":
        command, what = f"generate ship --out {folder}", " on a trained generator"
    elif file == "mobilefacenet_y1.onnx":
        return "get MobileFaceNet (MS1M, ArcFace) from insightface's model zoo and save it as {path}, in ONNX"
    elif (on_hub := _find_on_the_hub(file)) is not None:
        name = f" {_FETCH_NAMES[file]}" if file in _FETCH_NAMES else ""
        command = f"generate fetch{name}" + _folder_flag("--weights", weights)
        what = f", or download {on_hub.page}, to {{path}}"
    else:
        return "no command makes this file; save your own as {path}, or correct its name in the section generator"
    return f"run {python_command(command)}{what}"
