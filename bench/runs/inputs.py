"""What a benchmark needs that is not in the repository, test sets and weights, and where each comes from."""

from dataclasses import dataclass
from pathlib import Path

from bench.config.benchmarks import Benchmark
from bench.config.generator import FilesGenerator, is_shipped, weight_path
from bench.runs.hub import HubFile

RENDERED_PREFIX = "render_"
TEST_SETS_ON_THE_HUB = {
    name: HubFile(f"{name}.bin", "gaunernst/face-recognition-eval", "dataset")
    for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw")
}
"""Verification sets that ``python -m evaluate fetch`` downloads; where the others are, evaluate/test_sets/registry.py says."""


_PREPARED = ("centers.npy", "deviations.npy")
"""What ``python -m generate prepare`` writes beside a training set."""
_VARIATION = ("seen_often.npy", "differences.npy")
"""What ``python -m generate variation`` writes there."""


@dataclass(frozen=True)
class MissingInput:
    """A file that must be there before a benchmark can start."""

    name: str
    path: Path
    source: str

    def __str__(self) -> str:
        return f"{self.name}: put {self.path} there; from {self.source}"


def is_rendered(protocol: str) -> bool:
    """Whether a protocol is rendered here and needs no file."""
    return protocol.startswith(RENDERED_PREFIX)


def find_protocol(name: str, test_sets: Path) -> Path | None:
    """The verification set called ``name``; None where absent.

    A ``.bin``, ``.xz`` or ``.parquet``, a folder, or one of a folder's pairs files: ``cfp_fp`` is also
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
    return next((path for path in candidates if path.exists()), None)


def missing_inputs(benchmark: Benchmark, *, test_sets: Path, weights: Path) -> list[MissingInput]:
    """Every file that the benchmark needs and that is not there, with where to get it."""
    missing = []
    generator = benchmark.generator
    if isinstance(generator, FilesGenerator) and not Path(generator.path).exists():
        missing.append(MissingInput("face dataset", Path(generator.path), "its publisher; see generator.path"))
    for file in generator.weight_files:
        path = weight_path(file, weights)
        if not path.exists():
            missing.append(MissingInput(path.name, path, _source_of_weights(file)))
    for name in benchmark.protocols:
        if not is_rendered(name) and find_protocol(name, test_sets) is None:
            on_hub = TEST_SETS_ON_THE_HUB.get(name)
            source = f"{on_hub.page}: python -m evaluate fetch {name}" if on_hub else "its publisher"
            missing.append(MissingInput(name, test_sets / f"{name}.bin", source))
    return missing


def _source_of_weights(file: str) -> str:
    if is_shipped(file):
        return "the repository, or make assets"
    if Path(file).name in _PREPARED:
        return f"python -m generate prepare --out WEIGHTS/{Path(file).parent}, of the faces that it was trained on"
    if Path(file).name in _VARIATION:
        return f"python -m generate variation --prepared WEIGHTS/{Path(file).parent}, of that training set"
    if Path(file).name == "identity.onnx":
        return f"python -m generate appearance --out WEIGHTS/{file}, of an identity network and those faces"
    if Path(file).name == "generator.safetensors":
        return f"python -m generate ship --out WEIGHTS/{Path(file).parent}, of a finished python -m generate train"
    if file == "mobilefacenet_y1.onnx":
        return "insightface's model zoo (MobileFaceNet, MS1M, ArcFace), as ONNX"
    return f"Hub model BooBooWu/Vec2Face, file weights/{file}: python -m generate fetch"
