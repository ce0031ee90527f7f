"""What a benchmark needs that is not in the repository, test sets and weights, and where each comes from."""

from dataclasses import dataclass
from pathlib import Path

from bench.config import ASSETS_PATH, Benchmark, FilesGenerator, Vec2FaceGenerator
from bench.hub import HubFile

RENDERED_PREFIX = "render_"
TEST_SETS_ON_THE_HUB = {
    name: HubFile(f"{name}.bin", "gaunernst/face-recognition-eval", "dataset")
    for name in ("lfw", "cfp_fp", "cfp_ff", "agedb_30", "calfw", "cplfw")
}
"""Verification sets that ``python -m evaluate fetch`` downloads; where the others are, evaluate/registry.py says."""


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
        shipped = isinstance(generator, Vec2FaceGenerator) and generator.shipped
        path = ASSETS_PATH / file if shipped else weights / file
        if not path.exists():
            hub_file = f"Hub model BooBooWu/Vec2Face, file weights/{file}: python -m generate fetch"
            source = "make assets" if shipped else hub_file
            missing.append(MissingInput(path.name, path, source))
    for name in benchmark.protocols:
        if not is_rendered(name) and find_protocol(name, test_sets) is None:
            on_hub = TEST_SETS_ON_THE_HUB.get(name)
            source = f"{on_hub.page}: python -m evaluate fetch {name}" if on_hub else "its publisher"
            missing.append(MissingInput(name, test_sets / f"{name}.bin", source))
    return missing
