"""Memory and time of an audit after embedding, at many identities, measured on synthetic embeddings in a file.

Each identity has a random direction, and each image this direction and noise of the same length. A reference shares
some of the identities.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.speed.scale import Size, Step
from evaluate.audit.embeddings import Embedded
from evaluate.audit.images.duplicates import first_with_same_pixels, near_pairs
from evaluate.audit.images.scan import NEAR_BITS
from evaluate.audit.run import compare, describe_embeddings
from evaluate.audit.source import Source

DIM = 512
NUM_SHARED, NUM_OTHERS, IMAGES_PER_REFERENCE = 20, 980, 5
"""Identities of the reference that are in the dataset, others, and images of each."""
_ROWS = 10_000


def steps() -> list[Step]:
    """The three steps of an audit whose work grows with the dataset."""
    return [
        Step("audit: exact and near duplicates", _find_duplicates),
        Step("audit: separation, consistency, pairs", _describe, _prepare),
        Step(f"audit: leakage against {NUM_SHARED + NUM_OTHERS:,} identities", _compare, _prepare),
    ]


def write_embeddings(
    path: Path, identity_ids: NDArray[np.int64], *, first_identity: int = 0, dtype: DTypeLike = np.float16
) -> None:
    """Write unit embeddings as ``.npy``, block by block; an identity has the same direction in every file.

    Args:
        path: The file; one that exists is kept.
        identity_ids: Identity of each image, ascending, shape (N,).
        first_identity: Added to the identities.
        dtype: Type of the file's numbers.
    """
    if path.exists():
        return
    array = np.lib.format.open_memmap(path, "w+", dtype, (len(identity_ids), DIM))
    for start in range(0, len(identity_ids), _ROWS):
        identities, rows_of = np.unique(identity_ids[start : start + _ROWS], return_inverse=True)
        rng = np.random.default_rng([1, first_identity, start])
        rows = rng.standard_normal((len(rows_of), DIM), dtype=np.float32)
        seeds = [[0, first_identity + int(identity)] for identity in identities]
        centers = np.stack([np.random.default_rng(seed).standard_normal(DIM, dtype=np.float32) for seed in seeds])
        rows += centers[rows_of]
        array[start : start + _ROWS] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    array.flush()


def read_embedded(path: Path, identity_ids: NDArray[np.int64]) -> Embedded:
    """A file of ``write_embeddings`` as the embeddings of a dataset."""
    num_images, num_identities = len(identity_ids), int(identity_ids[-1]) + 1
    names = [f"identity {number}" for number in range(num_identities)]
    source = Source(path.stem, path, "", lambda i: b"", lambda i: f"image {i}", identity_ids, names)
    values = {"magnitude": np.ones(num_images, dtype=np.float32)}
    return Embedded(source, np.arange(num_images), identity_ids, names, np.load(path, mmap_mode="r"), values)


def _files(size: Size, folder: Path) -> list[tuple[Path, NDArray[np.int64], int]]:
    """Path, identities and first identity of the dataset and of the reference."""
    ids = np.arange(size.num_images) // size.images_per_identity
    reference = np.arange((NUM_SHARED + NUM_OTHERS) * IMAGES_PER_REFERENCE) // IMAGES_PER_REFERENCE
    first = size.num_identities - NUM_SHARED
    return [(folder / "dataset.npy", ids, 0), (folder / "reference.npy", reference, first)]


def _prepare(size: Size, folder: Path) -> None:
    for path, identity_ids, first in _files(size, folder):
        write_embeddings(path, identity_ids, first_identity=first)


def _describe(size: Size, folder: Path) -> Mapping[str, float]:
    (path, identity_ids, _), _ = _files(size, folder)
    sections = describe_embeddings(read_embedded(path, identity_ids))
    pairs = sections["pairs"]
    num_unique = sections["separation"].unique["0.4"].kept
    return {"unique": num_unique, "genuine pairs": pairs.genuine.num_pairs, "impostor pairs": pairs.impostor.num_pairs}


def _compare(size: Size, folder: Path) -> Mapping[str, float]:
    dataset, reference = (read_embedded(path, identity_ids) for path, identity_ids, _ in _files(size, folder))
    return {"shared": len(compare(dataset, reference).shared_identities())}


def _find_duplicates(size: Size, folder: Path) -> Mapping[str, float]:
    """Random hashes, every thousandth that of the image before it."""
    hashes = np.random.default_rng(0).integers(0, 2**63, size.num_images, dtype=np.uint64)
    hashes[1::1000] = hashes[::1000][: len(hashes[1::1000])]
    num_repeats = int((first_with_same_pixels(hashes) != np.arange(len(hashes))).sum())
    return {"near pairs": len(near_pairs(hashes, NEAR_BITS).pairs), "repeats": num_repeats}
