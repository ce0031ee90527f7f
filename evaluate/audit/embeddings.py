"""A source of images -> its scan and its embeddings, computed once per source and network and cached on disk.

Embeddings are float32 and memory-mapped: a million of them with 512 dimensions take 2 GB of disk and little memory.
The processes of a group share the images, and process 0 writes the cache; all of them must call these functions.
Legend: B batch, M images that decode, D embedding dimension.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import atomic_path, read_array, read_arrays
from bench.machine.processes import flag_of_rank0, joined_rank, wait_for_all
from evaluate.audit.images.scan import Scan, scan_images, usable_images
from evaluate.audit.source import Source
from evaluate.layouts.images import LazyImages, decode_face, listed
from evaluate.measure.embed import FaceNetwork, shared_feature_batches

_VERSION = 1
"""Part of the cache key. Raise it when a change of code changes the result of ``scan_images`` or the embeddings."""
_DELETE = "delete it, and run the audit again"
_DELETE_FOLDER = "delete its folder, and run the audit again"


@dataclass(frozen=True)
class Embedder:
    """The networks that are applied to each image."""

    network: FaceNetwork
    """The recognition network."""
    sha256: str
    """SHA-256 of its file."""
    device: str = "cpu"
    estimators: Mapping[str, FaceNetwork] | None = None
    """Name (quality, yaw) -> network from RGB images in [-1, 1], shape (B, 3, 112, 112), to numbers, shape (B,)."""
    estimator_sha256: Mapping[str, str] = field(default_factory=dict)
    """Name of each estimator -> SHA-256 of its file."""
    name: str = ""
    """Name of the network's file."""
    perceptual: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """Perceptual distance of two batches of images in [-1, 1]."""


@dataclass(frozen=True)
class Embedded:
    """The M images of a source that decode and can be aligned faces by size, with identities and embeddings."""

    source: Source
    positions: NDArray[np.int64]
    """Positions of these images in the source, shape (M,)."""
    identity_ids: NDArray[np.int64]
    """0 .. C - 1 without gaps, shape (M,)."""
    identity_names: list[str]
    """Name of each of the C identities."""
    embeddings: NDArray[np.float32]
    """Unit length, shape (M, D), memory-mapped."""
    values: dict[str, NDArray[np.float32]]
    """Name -> number per image, shape (M,): each estimator, and ``magnitude``, the length of the raw features."""


def cached_scan(source: Source, cache: Path) -> Scan:
    """``scan_images`` of a source; read from the folder ``cache`` unless the source has changed."""
    path = cache / f"{_key(source)}.npz"
    if not flag_of_rank0(path.exists()):
        scan = scan_images(source)
        if joined_rank()[0] == 0:
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, table=scan.table, problems=np.array(scan.problems, dtype=str))
        return scan
    stored = read_arrays(path, fix=_DELETE)
    return Scan(stored["table"], stored["problems"].tolist())


def cached_embeddings(source: Source, scan: Scan, embedder: Embedder, cache: Path) -> Embedded:
    """Embeddings of every image that decodes and can be an aligned face by its size.

    They are read from the folder ``cache`` unless source, network or an estimator have changed.

    Raises:
        InputError: If an embedding is not finite (the message names the images), or if no image can be an aligned face.
    """
    positions = usable_images(scan)
    if not len(positions):
        raise InputError(f"{source.path} holds no aligned face that decodes; align its faces to 112 x 112")
    labels, identity_ids = np.unique(source.identity_ids[positions], return_inverse=True)
    names = [source.identity_names[label] for label in labels]
    directory = cache / _key(source, embedder.sha256, sorted(embedder.estimator_sha256.items()))
    if not flag_of_rank0(directory.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f".{directory.name}.lock")  # a second audit waits, then finds the folder of the first
        is_first = joined_rank()[0] == 0
        with lock if is_first else nullcontext():
            if not flag_of_rank0(directory.exists()):
                with atomic_path(directory) if is_first else nullcontext() as temporary:
                    _write(temporary, source, positions, embedder)
        wait_for_all()
    values = read_arrays(directory / "values.npz", fix=_DELETE_FOLDER)
    embeddings = read_array(directory / "embeddings.npy", is_mapped=True, fix=_DELETE_FOLDER)
    return Embedded(source, positions, identity_ids, names, embeddings, values)


def read_faces(source: Source, positions: NDArray[np.int64]) -> LazyImages:
    """Images of a source as faces of 112 x 112 pixels, read when they are indexed; other square ones are scaled."""

    def read(position: int) -> NDArray[np.uint8]:
        loaded = source.load(position)
        label = source.label(position)
        return decode_face(loaded, label) if isinstance(loaded, bytes) else loaded

    return LazyImages(read, positions)


def _write(directory: Path | None, source: Source, positions: NDArray[np.int64], embedder: Embedder) -> None:
    """Embed batch by batch, so that memory does not grow with the dataset.

    Process 0 writes into the new folder ``directory``, which is None in all other processes.
    """
    images = read_faces(source, positions)
    magnitude = np.empty(len(images), np.float32)
    array: np.memmap | None = None
    if directory is not None:
        directory.mkdir()
    for batch, features in shared_feature_batches(embedder.network, images, device=embedder.device):
        rows = features.cpu()
        bad = [source.label(int(i)) for i in positions[batch][~torch.isfinite(rows).all(dim=1).numpy()]]
        if bad:
            raise InputError(f"embeddings of {listed(bad)} are not finite; check these images and the network")
        if directory is None:
            continue
        if array is None:
            shape = (len(images), rows.shape[1])
            array = np.lib.format.open_memmap(directory / "embeddings.npy", "w+", np.float32, shape)
        array[batch] = F.normalize(rows).numpy()
        magnitude[batch] = torch.linalg.vector_norm(rows, dim=1).numpy()
    values = {name: _estimate(estimator, images, embedder) for name, estimator in (embedder.estimators or {}).items()}
    if array is not None and directory is not None:
        array.flush()
        with (directory / "values.npz").open("wb") as file:
            np.savez(file, magnitude=magnitude, **values)  # type: ignore[arg-type]


def _estimate(estimator: FaceNetwork, images: LazyImages, embedder: Embedder) -> NDArray[np.float32]:
    """The number that an estimator gives for each image, shape (M,)."""
    values = np.empty(len(images), np.float32)
    for batch, numbers in shared_feature_batches(estimator, images, device=embedder.device, mode="no_flip"):
        values[batch] = numbers.cpu().numpy()
    return values


def _key(source: Source, *parts: Any) -> str:
    """Name of the cache entry of a source and of ``parts`` that the entry depends on."""
    text = json.dumps([_VERSION, str(source.path.resolve()), source.state, len(source), *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
