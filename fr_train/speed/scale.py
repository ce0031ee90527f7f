"""Steps of a training that use no network, on an artificial dataset: reading its labels, and drawing batches."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.config.benchmarks import load_benchmark
from bench.faces.lmdb_file import FaceWriter, LmdbFaces
from bench.faces.open import open_faces
from bench.speed.scale import Size, Step
from fr_train.trainer.data import FaceBatches

NUM_BATCHES, NUM_EPOCHS = 5, 2
_FILE = b"P6 4 4 255\n" + bytes(48)
"""A whole image file of 59 bytes, as ``generate.speed.scale`` writes them."""


def steps() -> list[Step]:
    """All steps. They read the faces.lmdb that a step of ``generate.speed.scale`` wrote, or else write one."""
    return [
        Step("open faces.lmdb and read its labels", _read_labels, _prepare_faces),
        Step(f"draw {NUM_BATCHES} batches of each of {NUM_EPOCHS} epochs", _draw_batches, _prepare_faces),
    ]


def _prepare_faces(size: Size, folder: Path) -> None:
    if not (folder / "faces.lmdb").exists():
        with FaceWriter(folder / "faces.lmdb") as writer:
            for index in range(size.num_images):
                writer.write(_FILE, index // size.images_per_identity)


def _read_labels(size: Size, folder: Path) -> Mapping[str, float]:
    faces = open_faces(folder / "faces.lmdb")
    return {"images": len(faces), "identities": faces.num_identities}


def _draw_batches(size: Size, folder: Path) -> Mapping[str, float]:
    labels = np.arange(size.num_images) // size.images_per_identity  # as faces.parquet holds them
    faces = LmdbFaces(folder / "faces.lmdb", labels)
    batches = FaceBatches(faces, load_benchmark("300k").recipe, seed=0)
    drawn = 0
    for epoch in range(NUM_EPOCHS):
        for step in range(NUM_BATCHES):
            drawn += len(batches[epoch * batches.steps_per_epoch + step])
    return {"images": drawn}
