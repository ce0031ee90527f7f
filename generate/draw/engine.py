"""Plan -> shards of whole identities -> one LMDB, with the same bytes for any number of processes and interruptions.

The first round makes the identities (``identities_round.py``), the second their images (``images_round.py``). A shard
is the unit of work and of resume. Its content depends on the plan alone: random numbers come from (seed, candidate,
image), and batches never cross shards. Rank 0 decides the separation and joins the shards.
"""

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from bench.faces.grid import sample_grid, write_grid
from bench.faces.lmdb_file import LmdbFaces
from bench.runs.stage import stage_lock
from generate.draw import shards
from generate.draw.dataset_run import DatasetRun, Networks
from generate.draw.identities_round import make_identities
from generate.draw.images_round import image_shards, make_images
from generate.draw.plan import Plan

_PARTS_NAME = "parts"


def generate_dataset(
    directory: str | Path, plan: Plan, networks: Networks, *, rank: int = 0, world_size: int = 1
) -> shards.DrawnFaces | None:
    """Make a dataset in ``directory``, or finish it: faces.lmdb, faces.parquet, grid.png.

    Shards stay in ``directory/parts`` until ``remove_parts``.

    Args:
        directory: Folder of the dataset; all processes must see it.
        plan: The dataset to make.
        networks: The generator and the estimators.
        rank: Number of this process.
        world_size: Number of processes.

    Returns:
        Counts and statistics for the dataset's card on rank 0, None on the others.

    Raises:
        InputError: If the folder holds another plan or is in use, too few identities are separated, or given identity
            vectors are invalid.
    """
    directory = Path(directory)
    parts = directory / _PARTS_NAME
    with stage_lock(parts) if rank == 0 else nullcontext():
        run = DatasetRun(plan, networks, parts, rank=rank, world_size=world_size)
        try:
            run.write_or_check_plan()
            identities = make_identities(run)
            make_images(run)
        except FileNotFoundError:
            if run.finished_by_rank0:  # nothing was left to do for this process, and its files are removed by now
                return None
            raise
        if rank != 0:
            return None
        paths = image_shards(run)
        shards.wait_for(paths)
        num_images = plan.settings.num_identities * plan.settings.images_per_identity
        drawn = shards.join_shards(paths, directory, num_images)
        labels = shards.read_labels(directory / "faces.parquet")
        write_grid(directory / "grid.png", sample_grid(LmdbFaces(directory / "faces.lmdb", labels)))
        return replace(drawn, statistics=drawn.statistics.merged(identities))


def remove_parts(directory: str | Path) -> None:
    """Delete the shards of a dataset whose card is written."""
    shutil.rmtree(Path(directory) / _PARTS_NAME, ignore_errors=True)
