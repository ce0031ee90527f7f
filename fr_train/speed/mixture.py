"""Speed of reading a mixture of three parts, compared with one LMDB of the same faces.

Both are read by the batches of a training run, with the same order and augmentation. In: faces and a recipe. Out: rows
of a table with images per second.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.config.recipe import Recipe
from bench.faces.convert import convert
from bench.faces.face import SelectedFaces, encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.mixture.mix import Part, Rules, make_mixture
from bench.faces.open import open_faces
from fr_train.speed.faces import BATCH_SIZE, Row, fastest_seconds
from fr_train.trainer.data import FaceBatches

NUM_PARTS = 3
NUM_PASSES = 7
NOTES = (
    "Each row is the fastest of 7 passes over all faces. Mixture and LMDB take turns, since other programs on the "
    "machine can only slow a pass down. `nothing else` hands out the image files and decodes none, so that it shows "
    "what a view adds to each face. The mixture has three LMDB files."
)


def mixture_rows(images: NDArray[np.uint8], recipe: Recipe) -> list[Row]:
    """Images per second of one process: reading alone, batches as in training, and batches made by two workers.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3).
        recipe: Gives the augmentation.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            datasets = _write(images, Path(folder))
            rows = list[Row]()
            for what, pass_over in _passes(recipe).items():
                loaders = [_bind(pass_over, faces) for faces in datasets]
                one, mixed = (len(images) / seconds for seconds in fastest_seconds(loaders, NUM_PASSES))
                rows.append(
                    {"faces read for": what, "one LMDB images/s": one, "mixture images/s": mixed, "times": mixed / one}
                )
    finally:
        torch.set_num_threads(num_threads)
    return rows


def _write(images: NDArray[np.uint8], folder: Path) -> tuple[SelectedFaces, SelectedFaces]:
    """The faces in one LMDB, and as a mixture of three."""
    parts = []
    for number, of_part in enumerate(np.array_split(np.arange(len(images)), NUM_PARTS)):
        with FaceWriter(folder / f"part{number}.lmdb") as writer:
            for index in of_part:
                writer.write(encode_jpeg(images[index]), int(index) // 4)
        parts.append(Part(f"part{number}", open_faces(folder / f"part{number}.lmdb")))
    make_mixture(folder / "mixture", parts, Rules(), seed=0)
    mixture = open_faces(folder / "mixture")
    convert(mixture, folder / "one.lmdb", "lmdb")
    return open_faces(folder / "one.lmdb"), mixture


def _passes(recipe: Recipe) -> dict[str, Callable[[SelectedFaces], object]]:
    """What is measured: name -> a function that reads all faces once."""

    def batches(faces: SelectedFaces) -> FaceBatches:
        schedule = recipe.schedule.model_copy(update={"epochs": 1})
        return FaceBatches(faces, recipe.model_copy(update={"batch_size": BATCH_SIZE, "schedule": schedule}), seed=0)

    return {
        "nothing else": lambda faces: [faces.encoded(index) for index in range(len(faces))],
        "batches of a training": lambda faces: list(batches(faces).stream(0, num_workers=0)),
        "the same, by two workers": lambda faces: list(batches(faces).stream(0, num_workers=2)),
    }


def _bind(function: Callable[[SelectedFaces], object], faces: SelectedFaces) -> Callable[[], object]:
    return lambda: function(faces)
