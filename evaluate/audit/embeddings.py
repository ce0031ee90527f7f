"""A source's images -> what one look shows of each, and unit embeddings on disk, computed once per source and network.

Embeddings are a float32 memory map: a million of them, 512 wide, take 2 GB of disk and next to no memory.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.errors import InputError
from bench.files import atomic_path
from evaluate.audit.images import Scan, scan_images
from evaluate.audit.source import Source
from evaluate.layouts.images import LazyImages, decode_face, listed
from evaluate.measure.embed import FaceNetwork, feature_batches

_VERSION = 1
"""To be raised when ``scan_images`` or the embedding changes what it gives."""


@dataclass(frozen=True)
class Embedder:
    """A recognition network and what else is asked of each image."""

    network: FaceNetwork
    sha256: str
    """Of the network's file."""
    device: str = "cpu"
    estimators: Mapping[str, FaceNetwork] | None = None
    """Name -> function of RGB images in [-1, 1], (B, 3, 112, 112), to one number each, (B,): quality, yaw, ..."""


@dataclass(frozen=True)
class Embedded:
    """The M images of a source that decode, with their identities and embeddings."""

    source: Source
    positions: NDArray[np.int64]
    """In the source, shape (M,)."""
    identity_ids: NDArray[np.int64]
    """Without gaps, shape (M,)."""
    identity_names: list[str]
    embeddings: NDArray[np.float32]
    """Unit length, shape (M, D), memory-mapped."""
    values: dict[str, NDArray[np.float32]]
    """``magnitude`` (the length of the features before normalising) and each estimator's answer, shape (M,)."""

    def label(self, index: int) -> str:
        """What to call an image."""
        return self.source.label(int(self.positions[index]))


def cached_scan(source: Source, cache: Path) -> Scan:
    """``scan_images``, remembered in ``cache`` until the source changes."""
    path = cache / f"{_key(source)}.npz"
    if not path.exists():
        scan = scan_images(source)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, table=scan.table, problems=np.array(scan.problems, dtype=str))
        return scan
    with np.load(path, allow_pickle=False) as stored:
        return Scan(stored["table"], stored["problems"].tolist())


def cached_embeddings(source: Source, scan: Scan, embedder: Embedder, cache: Path) -> Embedded:
    """Embeddings of every image that decodes, remembered in ``cache`` until source or network change.

    Raises:
        InputError: If an embedding is not finite; names the images.
    """
    positions = scan.good
    kept, identity_ids = np.unique(source.identity_ids[positions], return_inverse=True)
    names = [source.identity_names[label] for label in kept]
    directory = cache / _key(source, embedder.sha256, sorted(embedder.estimators or {}))
    if not directory.exists():
        with atomic_path(directory) as temporary:
            temporary.mkdir()
            _write(temporary, source, positions, embedder)
    with np.load(directory / "values.npz", allow_pickle=False) as stored:
        values = {name: stored[name] for name in stored.files}
    embeddings = np.load(directory / "embeddings.npy", mmap_mode="r")
    return Embedded(source, positions, identity_ids, names, embeddings, values)


def faces_of(source: Source, positions: NDArray[np.int64]) -> LazyImages:
    """Images of a source as faces of 112 x 112, others scaled to that."""

    def read(position: int) -> NDArray[np.uint8]:
        loaded = source.load(position)
        label = source.label(position)
        return decode_face(loaded, label, resize=True) if isinstance(loaded, bytes) else loaded

    return LazyImages(read, positions)


def _write(directory: Path, source: Source, positions: NDArray[np.int64], embedder: Embedder) -> None:
    """Embed in batches straight into the file."""
    images = faces_of(source, positions)
    estimators = dict(embedder.estimators or {})
    values = {name: np.empty(len(images), np.float32) for name in ("magnitude", *estimators)}
    array: np.memmap | None = None
    for batch, features in feature_batches(embedder.network, images, device=embedder.device):
        rows = features.cpu()
        if array is None:
            shape = (len(images), rows.shape[1])
            array = np.lib.format.open_memmap(directory / "embeddings.npy", "w+", np.float32, shape)
        array[batch] = F.normalize(rows).numpy()
        values["magnitude"][batch] = torch.linalg.vector_norm(rows, dim=1).numpy()
        bad = [source.label(int(i)) for i in positions[batch][~torch.isfinite(rows).all(dim=1).numpy()]]
        if bad:
            raise InputError(f"embeddings of {listed(bad)} are not finite; look at these images, or at the network")
        if estimators:
            faces = torch.from_numpy(images[batch]).permute(0, 3, 1, 2).to(embedder.device).float() / 127.5 - 1
            for name, estimator in estimators.items():
                values[name][batch] = estimator(faces).float().cpu().numpy()
    if array is not None:
        array.flush()
    with (directory / "values.npz").open("wb") as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def _key(source: Source, *parts: Any) -> str:
    text = json.dumps([_VERSION, str(source.path.resolve()), source.state, len(source), *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
