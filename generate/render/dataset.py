"""Render a face dataset: ``faces.lmdb``, ``faces.parquet`` with the true factors of every image, and ``grid.png``.

In: numbers of identities and images, and a seed. The faces are encoded as JPEG on all cores, and shared out over the
processes of torchrun in shards, small LMDB files that process 0 joins. The name of a shard holds a digest of its faces,
so an interrupted rendering goes on from the shards that exist, with any number of processes.
"""

import hashlib
import multiprocessing
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import decode_image, encode_jpeg
from bench.faces.grid import write_grid
from bench.faces.lmdb_file import FaceWriter, LmdbFaces
from bench.files import PARTS_NAME, atomic_path, wait_for_files
from bench.machine.device import cores_of_process, process_rank
from bench.machine.figures import count_images
from bench.machine.progress import progress
from generate.render.face import IDENTITIES_PER_SEED, PROTOCOL_IDENTITIES, alignment_error, factor_table, render_face
from generate.render.people import Factors

_GRID_ROWS, _GRID_COLUMNS = 12, 8
_FACES_PER_TASK, _FACES_PER_SHARD = 8, 64
_NOT_FACTORS = ("identity_id", "identity_seed", "image_seed")

Job = tuple[int, int, Factors]
"""One face to render: identity seed, image seed, circumstances."""
Result = TypeVar("Result")


def render_dataset(
    directory: str | Path,
    *,
    num_identities: int,
    images_per_identity: int,
    seed: int,
    jpeg_quality: int = 95,
    is_over: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Render a dataset into a folder. Each of its three files appears whole or not at all.

    ``faces.lmdb`` holds the faces, ``faces.parquet`` their true factors, one row per face in the same order, and
    ``grid.png`` the faces of some identities. Shards stay in ``parts`` until ``bench.files.remove_parts``.

    Args:
        directory: Folder of the files.
        num_identities: Number of people. Their identity seeds are ``seed * 1,000,000 + 0, 1, 2, ...``.
        images_per_identity: Images of each person.
        seed: Seed of the dataset; datasets of different seeds share no person.
        jpeg_quality: 1 to 100.
        is_over: Whether process 0 has finished the dataset, asked by the other processes of torchrun.

    Returns:
        Statistics for the dataset's card: mean yaw and age, shares of profiles and of glasses. None in all processes
        but the first.

    Raises:
        InputError: If the seed or the number of identities leaves the range of datasets.
    """
    check_range(seed, num_identities)
    directory = Path(directory)
    identity_ids = np.repeat(np.arange(num_identities), images_per_identity)
    image_seeds = np.tile(np.arange(images_per_identity), num_identities)
    table = factor_table((identity_ids + seed * IDENTITIES_PER_SEED).tolist(), image_seeds.tolist())
    table.insert(0, "identity_id", identity_ids)
    shards = render_shards(_jobs(table), directory / PARTS_NAME, jpeg_quality, is_over=is_over)
    if process_rank()[0] != 0:
        return None
    identities_per_row = max(1, num_identities // _GRID_ROWS)
    grid: defaultdict[int, list[NDArray[np.uint8]]] = defaultdict(list)
    with FaceWriter(directory / "faces.lmdb") as writer:
        for identity, encoded in zip(identity_ids.tolist(), read_shards(shards), strict=True):
            writer.write(encoded, identity)
            row, remainder = divmod(identity, identities_per_row)
            if remainder == 0 and row < _GRID_ROWS and len(grid[row]) < _GRID_COLUMNS:
                grid[row].append(decode_image(encoded))
    write_grid(directory / "grid.png", list(grid.values()))
    with atomic_path(directory / "faces.parquet") as temporary:
        table.to_parquet(temporary)
    return _statistics(table)


def render_shards(
    jobs: Sequence[Job], parts: Path, quality: int = 95, *, is_over: Callable[[], bool] = lambda: False
) -> list[Path]:
    """Render this process's share of the faces, as shards that do not exist yet.

    The faces are cut into the same shards whatever the number of processes; process r renders the shards r,
    r + world_size, ...

    Args:
        jobs: All faces, the same in every process.
        parts: Folder of the shards, which all processes see.
        quality: JPEG quality, 1 to 100.
        is_over: Whether process 0 has used all shards and removed them; another process that is late asks it.

    Returns:
        The shards of all faces, in their order, those of other processes too; ``read_shards`` waits for them.
    """
    rank, world_size, _ = process_rank()
    cuts = [jobs[start : start + _FACES_PER_SHARD] for start in range(0, len(jobs), _FACES_PER_SHARD)]
    shards = [parts / f"faces-{number:06d}-{_digest(cut, quality)}.lmdb" for number, cut in enumerate(cuts)]
    missing = [number for number in range(rank, len(cuts), world_size) if not shards[number].exists()]
    if rank != 0 and is_over():
        return shards
    encoded = render_jpegs([job for number in missing for job in cuts[number]], quality)
    with progress(desc="render", total=sum(len(cuts[number]) for number in missing)) as bar:
        for number in missing:
            with FaceWriter(shards[number]) as writer:
                for content in islice(encoded, len(cuts[number])):
                    writer.write(content, 0)
                    bar.update(1)
                    count_images("render", 1)
    return shards


def read_shards(shards: Sequence[Path]) -> Iterator[bytes]:
    """The JPEG files in shards of ``render_shards``, in order; waits for shards that other processes still render."""
    for shard in shards:
        wait_for_files([shard])
        faces = LmdbFaces(shard)
        yield from (faces.encoded(index) for index in range(len(faces)))


def _digest(jobs: Sequence[Job], quality: int) -> str:
    return hashlib.sha256(repr((quality, jobs)).encode()).hexdigest()[:16]


def render_jpegs(jobs: Sequence[Job], quality: int = 95) -> Iterator[bytes]:
    """Rendered faces as JPEG files, in the order of the jobs, made on all cores of this process.

    The number of cores changes no byte.
    """
    return _on_all_cores(partial(_render_jpeg, quality=quality), jobs)


def render_with_alignment(table: pd.DataFrame, quality: int = 95) -> Iterator[tuple[bytes, NDArray[np.float64]]]:
    """The faces of a ``factor_table`` as ``render_jpegs`` renders them, each with its ``alignment_error``, (4,)."""
    return _on_all_cores(partial(_render_with_alignment, quality=quality), _jobs(table))


def _on_all_cores(render: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    num_processes = min(cores_of_process(), -(-len(jobs) // _FACES_PER_TASK))
    if num_processes <= 1:
        yield from map(render, jobs)
        return
    context = multiprocessing.get_context("forkserver")  # a plain fork would copy the locks of torch's threads
    context.set_forkserver_preload(["generate.render.dataset"])
    with ProcessPoolExecutor(num_processes, context) as pool:
        try:
            with _without_interrupts():
                encoded = pool.map(render, jobs, chunksize=_FACES_PER_TASK)
            yield from encoded
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in the block and in all processes that it starts; the process that started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check_range(seed: int, num_identities: int) -> None:
    """Refuse seeds and numbers of identities that would reach the identity seeds of the protocols.

    Raises:
        InputError: If they do.
    """
    last_seed = PROTOCOL_IDENTITIES // IDENTITIES_PER_SEED - 1
    if not 0 <= seed <= last_seed or num_identities > IDENTITIES_PER_SEED:
        raise InputError(
            f"seed={seed}, num_identities={num_identities}: the identities beyond the range of datasets belong to the "
            f"protocols; choose a seed from 0 to {last_seed} and at most {IDENTITIES_PER_SEED} identities"
        )


def _statistics(table: pd.DataFrame) -> dict[str, float]:
    return {
        "mean_abs_yaw_degrees": round(float(table["yaw_degrees"].abs().mean()), 2),
        "share_profile": round(float((table["yaw_degrees"].abs() >= 60).mean()), 4),
        "mean_age_years": round(float(table["age_years"].mean()), 2),
        "share_glasses": round(float((table["glasses"] != "none").mean()), 4),
    }


def _render_jpeg(job: Job, quality: int) -> bytes:
    return encode_jpeg(render_face(*job), quality)


def _render_with_alignment(job: Job, quality: int) -> tuple[bytes, NDArray[np.float64]]:
    return _render_jpeg(job, quality), alignment_error(*job)


def _jobs(table: pd.DataFrame) -> list[Job]:
    """One job per row of a ``factor_table``."""
    columns = [field.name for field in fields(Factors)]
    jobs = []
    for row in table.to_dict("records"):
        factors = Factors(**{column: row[column] for column in columns})
        jobs.append((row["identity_seed"], row["image_seed"], factors))
    return jobs


def read_jobs(table: pd.DataFrame, source: str | Path) -> list[Job]:
    """The faces of a dataset that ``render_dataset`` wrote: identity seed, image seed and circumstances of each.

    Args:
        table: Content of its faces.parquet.
        source: The file, for the message.

    Raises:
        InputError: If a column of rendered faces is missing.
    """
    needed = {*_NOT_FACTORS, *(field.name for field in fields(Factors))}
    if missing := sorted(needed - set(table.columns)):
        raise InputError(f"{source} has no column {missing[0]}; give the faces.parquet of rendered faces")
    return _jobs(table)
