"""The stage ``generate`` of a benchmark: the faces of whichever kind of generator its settings name.

Heavy libraries are imported only where the kind of generator needs them.
"""

import os
from pathlib import Path
from typing import Any

from bench.config.benchmarks import Benchmark
from bench.config.generator import FilesGenerator, RenderGenerator
from bench.machine.device import choose_device, num_cores, process_rank


def make_faces(
    directory: Path, benchmark: Benchmark, *, seed: int, weights: Path, device: str
) -> dict[str, Any] | None:
    """Make a benchmark's faces, or finish them after an interruption.

    Args:
        directory: Folder of the dataset.
        benchmark: The benchmark.
        seed: Seed of the dataset.
        weights: Folder of downloaded weights.
        device: Torch device of the networks, or ``auto``.

    Returns:
        The fields of the dataset's card that depend on the faces, and ``device`` where one was used. None in all
        processes but the first.

    Raises:
        InputError: If settings, weights or given faces do not fit.
    """
    generator = benchmark.generator
    if isinstance(generator, RenderGenerator):
        return _render(generator, directory, seed)
    if isinstance(generator, FilesGenerator):
        return _describe_files(generator, directory, skip_corrupt=benchmark.recipe.skip_corrupt)
    from generate.draw.dataset import make_dataset

    rank, world_size, device = process_rank(choose_device(device))
    if device == "cpu":
        use_every_core(world_size)
    fields = make_dataset(
        directory, generator, seed=seed, weights=weights, device=device, rank=rank, world_size=world_size
    )
    if fields is None:
        return None
    return fields | {"name": f"{generator.dataset_family} {benchmark.name}", "device": device}


def use_every_core(num_processes: int) -> None:
    """Let torch use as many threads as there are cores, for any number of processes.

    Sums round differently with another number of threads, so the number must not depend on that of the processes.
    OMP_NUM_THREADS is respected, except for the 1 that torchrun sets when it starts several processes.

    Args:
        num_processes: Processes that make the dataset.
    """
    import torch

    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None or (num_processes > 1 and threads == "1"):
        torch.set_num_threads(num_cores())


def _describe_files(generator: FilesGenerator, directory: Path, *, skip_corrupt: bool) -> dict[str, Any]:
    from bench.faces.face import check_sizes
    from bench.faces.grid import sample_grid, write_grid
    from bench.runs.dataset import open_files

    faces = open_files(generator.path, generator.mask, generator.leave_out)
    check_sizes(faces)
    write_grid(directory / "grid.png", sample_grid(faces, skip_corrupt=skip_corrupt))
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
