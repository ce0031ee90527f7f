"""Identity counts in, a dataset of rendered faces on disk out, with the true factors of every image."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import InputError
from bench.faces.grid import write_grid
from bench.faces.lmdb_file import FaceWriter, decode_image, encode_jpeg
from bench.files import atomic_path
from bench.machine.device import num_cores
from bench.machine.progress import progress
from generate.render.face import IDENTITIES_PER_SEED, PROTOCOL_IDENTITIES, factor_table, render_face
from generate.render.people import Factors

GRID_ROWS, GRID_COLUMNS = 12, 8
_CHUNK = 8

Job = tuple[int, int, Factors]
"""Identity seed, image seed, circumstances."""


def render_dataset(
    directory: str | Path, *, num_identities: int, images_per_identity: int, seed: int, jpeg_quality: int = 95
) -> dict[str, Any]:
    """Render a dataset: faces.lmdb, faces.parquet (true factors, one row per image) and grid.png, each whole or absent.

    Args:
        directory: Where the files go.
        num_identities: People; their identity seeds are ``seed`` * 1,000,000 + 0, 1, 2, ...
        images_per_identity: Images of each.
        seed: Of the dataset; different seeds share nobody.
        jpeg_quality: 1 to 100.

    Returns:
        Figures for the card: spread of pose and age, shares of glasses and of profiles.

    Raises:
        InputError: If the seed is negative, or it or the number of identities leaves the range kept for datasets.
    """
    directory = Path(directory)
    last_seed = PROTOCOL_IDENTITIES // IDENTITIES_PER_SEED - 1
    if not 0 <= seed <= last_seed or num_identities > IDENTITIES_PER_SEED:
        raise InputError(
            f"seed={seed}, num_identities={num_identities}: rendered datasets have seeds 0..{last_seed} and at most "
            f"{IDENTITIES_PER_SEED} identities; the identities beyond belong to the protocols"
        )
    identity_ids = np.repeat(np.arange(num_identities), images_per_identity)
    image_seeds = np.tile(np.arange(images_per_identity), num_identities)
    table = factor_table((identity_ids + seed * IDENTITIES_PER_SEED).tolist(), image_seeds.tolist())
    table.insert(0, "identity_id", identity_ids)
    jobs = _jobs(table)
    step = max(1, num_identities // GRID_ROWS)
    grid: dict[int, list[np.ndarray]] = {}
    with FaceWriter(directory / "faces.lmdb") as writer:
        faces = render_jpegs(jobs, jpeg_quality)
        for identity, encoded in progress(
            zip(identity_ids.tolist(), faces, strict=True), desc="render", total=len(jobs)
        ):
            writer.write(encoded, identity)
            row = grid.setdefault(identity, []) if identity % step == 0 and identity // step < GRID_ROWS else None
            if row is not None and len(row) < GRID_COLUMNS:
                row.append(decode_image(encoded))
    write_grid(directory / "grid.png", list(grid.values()))
    with atomic_path(directory / "faces.parquet") as temporary:
        table.to_parquet(temporary)
    return {
        "mean_abs_yaw_degrees": round(float(table["yaw_degrees"].abs().mean()), 2),
        "share_profile": round(float((table["yaw_degrees"].abs() >= 60).mean()), 4),
        "mean_age_years": round(float(table["age_years"].mean()), 2),
        "share_glasses": round(float((table["glasses"] != "none").mean()), 4),
    }


def render_jpegs(jobs: Sequence[Job], quality: int = 95) -> Iterator[bytes]:
    """Rendered faces as JPEG files, in order; every core takes part, and their number changes no byte."""
    num_processes = min(num_cores(), -(-len(jobs) // _CHUNK))
    render = partial(_render_jpeg, quality=quality)
    if num_processes <= 1:
        yield from map(render, jobs)
        return
    context = multiprocessing.get_context("forkserver")  # a plain fork would copy the locks of torch's threads
    context.set_forkserver_preload(["generate.render.dataset"])
    with ProcessPoolExecutor(num_processes, context) as pool:
        try:
            yield from pool.map(render, jobs, chunksize=_CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)


def _render_jpeg(job: Job, quality: int) -> bytes:
    return encode_jpeg(render_face(*job), quality)


def _jobs(table: pd.DataFrame) -> list[Job]:
    fields = [column for column in table.columns if column not in ("identity_id", "identity_seed", "image_seed")]
    return [
        (row["identity_seed"], row["image_seed"], Factors(**{field: row[field] for field in fields}))
        for row in table.to_dict("records")
    ]
