"""The faces of a benchmark, by whichever kind of generator its settings name. Heavy imports wait for their kind."""

import os
from pathlib import Path
from typing import Any

from bench.config.benchmarks import Benchmark
from bench.config.generator import FilesGenerator, RenderGenerator
from bench.machine.device import choose_device, num_cores, process_rank


def make_faces(
    directory: Path, benchmark: Benchmark, *, seed: int, weights: Path, device: str
) -> dict[str, Any] | None:
    """Make the faces, or go on where an interrupted run stopped.

    Args:
        directory: Of the dataset.
        benchmark: Whose faces.
        seed: Of the dataset.
        weights: Folder of downloaded weights.
        device: Torch device of the networks, or ``auto``.

    Returns:
        The fields of the dataset's card that depend on the faces, and the device where one was used; None in all
        processes but the first.

    Raises:
        InputError: If settings, weights or given faces do not fit.
    """
    generator = benchmark.generator
    if isinstance(generator, RenderGenerator):
        return _render(generator, directory, seed)
    if isinstance(generator, FilesGenerator):
        return _describe_files(generator, directory)
    from generate.draw.dataset import make_dataset

    rank, world, device = process_rank(choose_device(device))
    if device == "cpu":
        use_every_core(world)
    made = make_dataset(directory, generator, seed=seed, weights=weights, device=device, rank=rank, world=world)
    return None if made is None else made | {"name": f"HSFace {benchmark.name}", "device": device}


def use_every_core(num_processes: int) -> None:
    """As many threads as cores, for any number of processes: sums round differently for another number of threads.

    OMP_NUM_THREADS counts, except for the 1 that torchrun sets where it starts several processes.
    """
    import torch

    given = os.environ.get("OMP_NUM_THREADS")
    if given is None or (num_processes > 1 and given == "1"):
        torch.set_num_threads(num_cores())


def _describe_files(generator: FilesGenerator, directory: Path) -> dict[str, Any]:
    from bench.faces.grid import open_files, sample_grid, write_grid

    faces = open_files(generator.path, generator.mask, generator.leave_out)
    write_grid(directory / "grid.png", sample_grid(faces))
    path = str(Path(generator.path).resolve())
    return {"name": Path(path).stem, "path": path, "num_images": len(faces), "num_identities": faces.num_identities}


def _render(generator: RenderGenerator, directory: Path, seed: int) -> dict[str, Any]:
    from bench.files import sha256
    from generate.render.dataset import render_dataset

    statistics = render_dataset(
        directory,
        num_identities=generator.num_identities,
        images_per_identity=generator.images_per_identity,
        seed=seed,
        jpeg_quality=generator.jpeg_quality,
    )
    return {
        "name": "rendered heads",
        "path": "faces.lmdb",
        "num_images": generator.num_identities * generator.images_per_identity,
        "num_identities": generator.num_identities,
        "content_sha256": sha256(directory / "faces.lmdb"),
        "statistics": statistics,
    }
