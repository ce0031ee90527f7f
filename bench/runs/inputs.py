"""Files that a benchmark needs and the repository does not hold: test sets, weights, faces; and where to get each."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.config.benchmarks import Benchmark
from bench.config.generator import PLUS_GENERATOR, RENDER_VERSION, FilesGenerator, is_shipped, weight_path
from bench.config.poses import PLUS_POSE
from bench.errors import InputError, python_command
from bench.files import exists
from bench.runs.hub import HubFile
from bench.runs.launch import run_command

RENDERED_PREFIX = "render_"
TEST_SETS_ON_THE_HUB = {
    name: HubFile(f"{name}.bin", "gaunernst/face-recognition-eval", "dataset")
    for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw")
}
"""Verification sets that ``python -m evaluate fetch`` downloads; evaluate/test_sets/registry.py tells of all others."""

_PREPARED = ("centers.npy", "deviations.npy")
"""Files that ``python -m generate prepare`` writes beside a training set."""
_VARIATION = ("seen_often.npy", "differences.npy")
"""Files that ``python -m generate variation`` writes there."""

_PLUS, _OF_VEC2FACE_PLUS = "BooBooWu/Vec2Face_plus", {PLUS_GENERATOR: "plus-generator", PLUS_POSE: "plus-pose"}
"""Repository of Vec2Face+, and its files by their names for ``python -m generate fetch``."""


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


def find_protocol(name: str, test_sets: Path) -> Path | None:
    """Path of the verification set called ``name``, or None if there is none.

    It is a ``.bin``, ``.xz`` or ``.parquet`` file, a folder, or a pairs file of a folder: ``cfp_fp`` is also
    ``cfp/pairs_FP.txt``, and ``rfw_asian`` is ``rfw/txts/Asian/Asian_pairs.txt``, as RFW's authors lay it out.
    """
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


def make_rendered_protocols(names: Iterable[str], runs: Path) -> None:
    """Render those of the named protocols that are rendered and do not exist yet, by ``python -m generate protocols``.

    Several processes may call this at once: the first one renders, the others wait.

    Raises:
        SystemExit: With the status of the command, which has said why it failed.
    """
    missing = [name for name in names if is_rendered(name) and not rendered_protocol_path(name, runs).exists()]
    if missing:
        command = [sys.executable, "-m", "generate", "protocols", *missing, "--runs", str(runs)]
        if status := run_command(command, is_quiet=True):
            sys.exit(status)


def protocol_path(name: str, *, test_sets: Path, runs: Path) -> Path:
    """File or folder of a protocol, rendered if need be.

    Raises:
        InputError: If it is a test set that does not exist.
    """
    if is_rendered(name):
        make_rendered_protocols([name], runs)
        return rendered_protocol_path(name, runs)
    path = find_protocol(name, test_sets)
    if path is None:
        raise InputError(
            f"no {name} in {test_sets}; run {python_command(f'evaluate fetch {name}')}, save it there as {name}.bin, "
            "or set TEST_SETS to the folder that holds it"
        )
    return path


def missing_inputs(benchmark: Benchmark, *, test_sets: Path, weights: Path) -> list[MissingInput]:
    """Every file that the benchmark needs and that does not exist, with where to get it."""
    missing = []
    generator = benchmark.generator
    if isinstance(generator, FilesGenerator):
        given = {"face dataset": generator.path, "mask": generator.mask, "leave_out": generator.leave_out}
        advice = {
            "face dataset": "get it from its publisher and save it as {path}",
            "mask": "save the .npy of positions as {path}, or leave out generator.mask",
            "leave_out": "save the text file of identity names as {path}, or leave out generator.leave_out",
        }
        for name, file in given.items():
            if file is not None and not Path(file).exists():
                missing.append(MissingInput(name, Path(file), advice[name]))
    for weight_file in generator.weight_files:
        path = weight_path(weight_file, weights)
        if not path.exists():
            missing.append(MissingInput(path.name, path, _source_of_weights(weight_file)))
    for name in benchmark.protocols:
        if not is_rendered(name) and find_protocol(name, test_sets) is None:
            on_hub = TEST_SETS_ON_THE_HUB.get(name)
            source = "get it from its publisher and save it as {path}"
            if on_hub:
                source = f"run {python_command(f'evaluate fetch {name}')}, or save {on_hub.page} as {{path}}"
            missing.append(MissingInput(name, test_sets / f"{name}.bin", source))
    return missing


def _source_of_weights(file: str) -> str:
    if is_shipped(file):
        return "restore {path} from the repository, or run make assets"
    folder = f"WEIGHTS/{Path(file).parent}"
    if Path(file).name in _PREPARED:
        command, what = f"generate prepare --out {folder}", " on the generator's training faces"
    elif Path(file).name in _VARIATION:
        command, what = f"generate variation --prepared {folder}", ""
    elif Path(file).name == "identity.onnx":
        command, what = f"generate appearance --out WEIGHTS/{file}", " on an identity network and the training faces"
    elif Path(file).name == "generator.safetensors":
        command, what = f"generate ship --out {folder}", " on a trained generator"
    elif file == "mobilefacenet_y1.onnx":
        return "get MobileFaceNet (MS1M, ArcFace) from insightface's model zoo and save it as {path}, in ONNX"
    elif file in _OF_VEC2FACE_PLUS:
        name, folder = _OF_VEC2FACE_PLUS[file], "vec2face_plus"
        command, what = f"generate fetch {name}", f", or save {folder}/{file} of the Hub model {_PLUS} as {{path}}"
    else:
        command, what = "generate fetch", f", or save weights/{file} of the Hub model BooBooWu/Vec2Face as {{path}}"
    return f"run {python_command(command)}{what}"
