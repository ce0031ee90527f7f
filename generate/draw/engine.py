"""Plan -> shards of whole identities -> one LMDB, with the same bytes for any number of processes and interruptions.

The first round makes the identities (``identities_round.py``), the second their images (``images_round.py``). A shard
is the unit of work and of resume. Its content depends on the plan alone: random numbers come from (seed, candidate,
image), and batches never cross shards. Rank 0 decides the separation and joins the shards.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from bench.faces.grid import sample_grid, write_grid
from bench.faces.lmdb_file import LmdbFaces
from bench.files import PARTS_NAME, wait_for_files
from bench.runs.stage import stage_lock
from generate.draw import shards
from generate.draw.dataset_run import DatasetRun, Networks
from generate.draw.identities_round import describe_identities, make_identities
from generate.draw.images_round import image_shards, make_images
from generate.draw.plan import Plan
from generate.draw.qualify.join import join_shards
from generate.draw.qualify.quota import next_tries


def generate_dataset(
    directory: str | Path, plan: Plan, networks: Networks, *, rank: int = 0, world_size: int = 1
) -> shards.DrawnFaces | None:
    """Make a dataset in ``directory``, or finish it: faces.lmdb, faces.parquet, grid.png.

    Shards stay in ``directory/parts`` until ``bench.files.remove_parts``.

    Args:
        directory: Folder of the dataset; all processes must see it.
        plan: The dataset to make.
        networks: The generator and the estimators.
        rank: Number of this process.
        world_size: Number of processes.

    Returns:
        Counts and statistics for the dataset's card on rank 0, None on the others.

    Raises:
        InputError: If the folder holds another plan or is in use, too few identities are separated or fill their quota,
            or given identity vectors are invalid.
    """
    directory = Path(directory)
    parts = directory / PARTS_NAME
    with stage_lock(parts) if rank == 0 else nullcontext():
        run = DatasetRun(plan, networks, parts, rank=rank, world_size=world_size)
        try:
            run.write_or_check_plan()
            tries = _make_rounds(run)
        except FileNotFoundError:
            if run.finished_by_rank0:  # nothing was left to do for this process, and its files are removed by now
                return None
            raise
        if rank != 0:
            return None
        paths = list(image_shards(run, tries))
        wait_for_files(paths)
        num_identities = plan.settings.num_identities if plan.settings.quota else None
        drawn = join_shards(paths, directory, tries[-1] * sum(plan.drawn_counts), num_identities=num_identities)
        identities = describe_identities(run, tries[-1])
        labels = shards.read_labels(directory / "faces.parquet")
        write_grid(directory / "grid.png", sample_grid(LmdbFaces(directory / "faces.lmdb", labels)))
        return replace(drawn, statistics=drawn.statistics.merged(identities))


def _make_rounds(run: DatasetRun) -> list[int]:
    """Make identities and their images until enough identities have their quota.

    Returns:
        Number of identities whose images were made, at first and after each time that a quota needed more.
    """
    settings, quota = run.plan.settings, run.plan.settings.quota
    tries = [settings.num_identities]
    while True:
        make_identities(run, tries[-1])
        make_images(run, tries)
        if quota is None:
            return tries
        paths = list(image_shards(run, tries))
        run.wait_for(paths)
        num_filled = sum(len(shards.filled_identities(path)) for path in paths)
        if num_filled >= settings.num_identities:
            return tries
        tries.append(next_tries(settings, quota, num_tried=tries[-1], num_filled=num_filled))
