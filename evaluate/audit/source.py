"""A face dataset or a test set -> a ``Source``: numbered images with identities, to audit or to compare with.

In: any dataset that ``bench.runs.dataset.open_files`` opens, or any layout of ``evaluate.protocol``. Legend: N images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config.benchmarks import Benchmark
from bench.errors import InputError, how_to_make
from bench.faces.face import SelectedFaces, decode_image
from bench.runs.dataset import open_dataset, open_files
from bench.runs.fingerprints import content_sha256, plan_stages
from bench.runs.inputs import find_protocol
from evaluate.layouts.arrow import arrow_files
from evaluate.protocol import Protocol, load_protocol


@dataclass(frozen=True)
class Attribute:
    """Groups of the images of a source."""

    name: str
    origin: str
    """Who assigned the groups, as printed on the page."""
    state: str
    """Text that changes if the groups change; part of the inputs of an audit."""
    groups_of: Callable[[NDArray[np.int64]], Sequence[str]]
    """Positions of images -> group of each; empty for an image of none."""
    order: tuple[str, ...] = ()
    """All groups in their order; empty for the alphabetical order of those that occur."""


@dataclass(frozen=True)
class Source:
    """Images with identities."""

    name: str
    path: Path
    state: str
    """Text that changes if the images change; part of the inputs of an audit and of the cache keys."""
    load: Callable[[int], bytes | NDArray[np.uint8]]
    """Position -> content of the image file, or pixels if the layout stores pixels."""
    label: Callable[[int], str]
    """Position -> name of the image for messages and tables."""
    identity_ids: NDArray[np.int64]
    """0 .. C - 1 without gaps, shape (N,)."""
    identity_names: list[str]
    """Name of each of the C identities."""
    attributes: tuple[Attribute, ...] = ()
    """What is known of the groups of its images."""
    positions_in_file: NDArray[np.int64] | None = None
    """Position of each image in the dataset's file before any selection, shape (N,); None: the images are numbered so.
    """

    def __len__(self) -> int:
        return len(self.identity_ids)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Pixels of one image, uint8 RGB, shape (H, W, 3).

        Raises:
            InputError: If the image does not decode.
        """
        loaded = self.load(index)
        return decode_image(loaded, self.label(index)) if isinstance(loaded, bytes) else loaded


def open_source(path: str | Path, *, mask: str | None = None, leave_out: str | None = None) -> Source:
    """Open a dataset or a test set.

    A dataset is an LMDB, a ``.rec`` or a folder with one folder per identity. A test set is anything
    that ``evaluate.protocol.load_protocol`` reads.

    Args:
        path: File or folder.
        mask: ``.npy`` file with the positions of the images to use; None uses all.
        leave_out: Text file with the names of identities to leave out; None leaves out none.

    Raises:
        InputError: If the path is neither, or images of a test set are to be left out.
    """
    path = Path(path)
    if _is_protocol(path):
        if mask or leave_out:
            raise InputError(f"{path} is a test set, of which no part can be taken; remove {mask or leave_out}")
        return protocol_source(load_protocol(path), path)
    faces = open_files(path, mask, leave_out)
    name = path.resolve().parent.name if path.stem == "images" else path.stem
    files = {"dataset": path, "mask": mask, "leave_out": leave_out}
    state = ", ".join(f"{what} {content_sha256(Path(file))}" for what, file in files.items() if file)
    return dataset_source(faces, name, state)


def benchmark_source(benchmark: Benchmark, *, seed: int, runs: Path, test_sets: Path) -> Source:
    """The finished dataset of a benchmark.

    Args:
        benchmark: Entry of benchmarks.yaml.
        seed: Seed of the dataset.
        runs: Folder of all runs.
        test_sets: Folder of test sets.

    Raises:
        InputError: If the dataset is not finished.
    """
    stage = plan_stages(benchmark, seed=seed, runs=runs, test_sets=test_sets).generate
    if not stage.is_finished:
        raise InputError(f"{stage.directory} holds no faces; {how_to_make('generate', benchmark.name)}, or give a path")
    faces = open_dataset(stage.directory, benchmark.generator)
    return dataset_source(faces, benchmark.name, stage.fingerprint)


def find_sources(names: Sequence[str], test_sets: Path) -> list[Source]:
    """Open paths, or test sets by their names, such that no two have one name.

    Two files called ``faces.lmdb`` are named with their folders, ``A_faces.lmdb`` and ``B_faces.lmdb``. A path that is
    given twice counts once.

    Raises:
        InputError: If one does not exist.
    """
    sources = {source.path.resolve(): source for source in (find_source(name, test_sets) for name in names)}
    paths_by_name: dict[str, list[Path]] = {}
    for path, source in sources.items():
        paths_by_name.setdefault(source.name, []).append(path)
    unique = []
    for path, source in sources.items():
        others = paths_by_name[source.name]
        unique.append(source if len(others) == 1 else replace(source, name=_short_path(path, others)))
    return unique


def _short_path(path: Path, others: Sequence[Path]) -> str:
    """The last parts of a path, as many as tell several paths apart."""
    num_parts = 1
    while len({other.parts[-num_parts:] for other in others}) < len(others):
        num_parts += 1
    return "_".join(path.parts[-num_parts:])


def find_source(name: str, test_sets: Path) -> Source:
    """Open a path, or a test set by its name in the folder of test sets.

    Raises:
        InputError: If neither exists.
    """
    path = Path(name) if Path(name).exists() else find_protocol(name, test_sets)
    if path is None:
        raise InputError(f"{name} is neither a path nor a set in {test_sets}; give a dataset, or a name like lfw")
    return open_source(path)


def dataset_source(faces: SelectedFaces, name: str, state: str) -> Source:
    """The images of a face dataset."""
    return Source(
        name,
        faces.path,
        state,
        faces.encoded,
        faces.name,
        faces.identity_ids,
        faces.identity_names,
        positions_in_file=faces.positions,
    )


def protocol_source(protocol: Protocol, path: Path) -> Source:
    """The distinct images of a test set; each is an identity of its own if the layout names none."""
    ids, names = protocol.identity_ids, protocol.identity_names
    if ids is None or names is None:
        ids = np.arange(len(protocol.faces))
        names = [f"image {position}" for position in ids]
    return Source(protocol.name, path, protocol.sha256, protocol.faces.read, lambda i: f"{path} face {i}", ids, names)


def _is_protocol(path: Path) -> bool:
    if path.is_dir():
        is_packed = (path / f"{path.name}.npy").exists() or (path / "memfile").is_dir() or arrow_files(path)
        return bool(is_packed) or any(path.glob("*pairs*.txt"))
    return path.suffix in {".bin", ".xz", ".npy", ".txt", ".parquet"}
