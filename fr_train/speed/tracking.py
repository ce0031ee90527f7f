"""How much following in MLflow slows a training down: trainings with and without it, in turns.

In: faces and a recipe. Out: rows of a table. Every training runs in a process of its own.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.config.recipe import Recipe
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.runs.tracking import live
from bench.runs.tracking.store import connect
from bench.speed import in_own_process
from fr_train.speed.faces import Row
from fr_train.trainer.train import train

NUM_FACES, NUM_REPEATS = 1024, 5

NOTES = (
    "Whole trainings with and without MLflow take turns. MLflow writes to a local SQLite file, as it does by default; "
    "its thread sends every five seconds. The store is opened before the clock starts, in both kinds of runs; a real "
    "run opens it once, in the background, ten seconds after its start. Processor time of the thread is measured "
    "apart, because it does not depend on what else the machine does."
)


def tracking_rows(images: NDArray[np.uint8], recipe: Recipe, num_repeats: int = NUM_REPEATS) -> list[Row]:
    """Images per second of a training without MLflow and with it, medians over alternating runs.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3); repeated to ``NUM_FACES`` faces.
        recipe: How to train.
        num_repeats: Runs of each kind.
    """
    figures: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for index in range(2 * num_repeats):
        is_followed = index % 2 == 1
        figures[is_followed].append(in_own_process(_train, images, recipe.model_dump_json(), is_followed))
    plain = median(rate for rate, _, _ in figures[False])
    rows: list[Row] = []
    for is_followed, values in figures.items():
        rate = median(value[0] for value in values)
        row: Row = {"MLflow": "yes" if is_followed else "no", "images/s": rate, "of without": rate / plain}
        row |= {"thread, share of one core": median(value[1] for value in values) if is_followed else None}
        rows.append(row | {"to open the store, s": median(value[2] for value in values)})
    return rows


def _train(images: NDArray[np.uint8], recipe_json: str, is_followed: bool) -> tuple[float, float, float]:
    """Images per second, share of a core that the thread takes, and seconds that opening the store took."""
    recipe = Recipe.model_validate_json(recipe_json)
    os.environ[live.SWITCH] = "1" if is_followed else "0"
    with tempfile.TemporaryDirectory() as folder:
        runs, path = Path(folder), Path(folder) / "faces.lmdb"
        with FaceWriter(path) as writer:
            for index in range(NUM_FACES):
                writer.write(encode_jpeg(images[index % len(images)]), index % 16)
        start = time.perf_counter()
        connect(runs)
        opening = time.perf_counter() - start
        run = live.LiveRun(runs / "model", runs, "train", {}, {}, has_journal=True, seconds_to_start=0)
        start = time.perf_counter()
        with live.followed(run) as follower:
            summary = train(open_faces(path), recipe, runs / "model", seed=0)
            seconds = time.perf_counter() - start
        thread = follower.thread_seconds / seconds if follower else 0.0
    return summary.num_images_seen / seconds, thread, opening
