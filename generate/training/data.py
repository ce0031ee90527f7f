"""Faces with features -> the batches of a training, in an order that only the seed and the epoch decide.

Step s of a run is the same batch on any machine: ``FeatureBatches[s]`` needs no state, so that workers, ranks and a
resumed run get the same faces under the same masks. Shapes: ``B`` batch, ``D`` width of the features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bench.errors import InputError, python_command
from bench.faces.face import FACE_SIZE, Faces, aligned_image
from bench.faces.lmdb_file import LmdbFaces
from bench.faces.open import open_faces
from bench.faces.pixels import to_network_input
from bench.machine.device import process_rank
from bench.machine.loading import prefetched_batches
from generate.networks.masks import MaskRatio
from generate.vec2face import NUM_GRID_TOKENS

_ORDER, _MASKS, _HELD_OUT = 0, 1, 2
"""Separate streams of random numbers below one seed."""


@dataclass(frozen=True)
class Batch:
    """Faces of one step, or one rank's share of them."""

    faces: Tensor
    """uint8 RGB, (B, 112, 112, 3)."""
    features: Tensor
    """Un-normalised identity features, float32, (B, D)."""
    noise: Tensor
    """Random numbers that decide which grid tokens are masked, (B, 49)."""
    mask_ratio: Tensor
    """Share of masked tokens per face, float64, (B,)."""

    def to(self, device: torch.device) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
        """Faces as float32 (B, 3, 112, 112) in [-1, 1], features, noise and mask ratios on a device."""
        faces = to_network_input(self.faces, device)
        others = (part.to(device, non_blocking=True) for part in (self.features, self.noise, self.mask_ratio))
        return (faces.contiguous(), *others)  # type: ignore[return-value]


def open_training_set(path: str | Path, mask: str | Path | None = None) -> LmdbFaces:
    """Faces with features: the LMDB of ``generate prepare``, or WebFace4M's as its authors publish it, with its mask.

    Raises:
        InputError: If the path is no LMDB, holds no features, or holds fewer than two identities.
    """
    faces = open_faces(path, mask)
    if not isinstance(faces, LmdbFaces):
        raise InputError(
            f"{path} is not an LMDB with features; make one from these faces with {python_command('generate prepare')}"
        )
    faces.features(0)  # raises InputError for an LMDB without features
    return faces


def split_held_out(faces: Faces, num_held_out: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the faces to train on, and of the faces of ``num_held_out`` identities drawn by the seed.

    Raises:
        InputError: If fewer than two identities would be left to train on.
    """
    if num_held_out > faces.num_identities - 2:
        raise InputError(
            f"held_out_identities={num_held_out} leaves {max(0, faces.num_identities - num_held_out)} of "
            f"{faces.num_identities} identities to train on, at least 2 are needed; lower it or add identities"
        )
    rng = np.random.default_rng([seed, _HELD_OUT])
    is_held_out = np.zeros(faces.num_identities, dtype=bool)
    is_held_out[rng.choice(faces.num_identities, num_held_out, replace=False)] = True
    is_held_out_face = is_held_out[faces.identity_ids]
    return np.flatnonzero(~is_held_out_face), np.flatnonzero(is_held_out_face)


def load_faces(faces: LmdbFaces, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Faces, uint8 (B, 112, 112, 3), and their features, float32 (B, D).

    Raises:
        InputError: If a face cannot be decoded or is not square, or its feature is damaged or of another width; names
            it.
    """
    images = np.empty((len(positions), FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    features: list[NDArray[np.float32]] = []
    for row, position in enumerate(positions):
        images[row] = aligned_image(faces, int(position))
        feature = faces.features(int(position)).astype(np.float32, copy=False).reshape(-1)
        if features and feature.size != features[0].size:
            raise InputError(
                f"{faces.name(int(position))} has a feature of {feature.size} numbers, other faces of "
                f"{features[0].size}; prepare the training set again"
            )
        features.append(feature)
    return torch.from_numpy(images), torch.from_numpy(np.stack(features))


class FeatureBatches(Dataset[Batch]):
    """The batches of a run: item s is the batch of step s, or this rank's share of it.

    Every epoch is a permutation of the faces to train on. The last, incomplete batch of an epoch is dropped.
    """

    def __init__(
        self, faces: LmdbFaces, positions: NDArray[np.int64], masks: MaskRatio, *, batch_size: int, seed: int
    ) -> None:
        """Use the faces at ``positions`` as the training set.

        Args:
            faces: Faces with features.
            positions: Positions of the faces to train on.
            masks: Distribution of the mask ratio.
            batch_size: Faces per step, over all processes.
            seed: Seed of order, masks and mask ratios.

        Raises:
            InputError: If the batch is larger than the set.
        """
        if batch_size > len(positions):
            raise InputError(
                f"batch_size={batch_size} exceeds the {len(positions)} faces to train on; set a smaller one"
            )
        self.steps_per_epoch = len(positions) // batch_size
        self.batch_size = batch_size
        self._faces, self._positions = faces, positions
        self._masks, self._seed = masks, seed
        self._rank, self._world_size = 0, 1
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def share(self, rank: int, world_size: int) -> None:
        """Return only the share of one process from now on.

        Raises:
            InputError: If the batch cannot be divided evenly among the processes.
        """
        if self.batch_size % world_size:
            raise InputError(
                f"batch_size={self.batch_size} is global and cannot be divided by {world_size} processes; change NPROC"
            )
        self._rank, self._world_size = rank, world_size

    def positions(self, step: int) -> NDArray[np.int64]:
        """Positions of the faces of a step, of this rank's share."""
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        if self._epoch != epoch:
            rng = np.random.default_rng([self._seed, _ORDER, epoch])
            self._epoch, self._order = epoch, self._positions[rng.permutation(len(self._positions))]
        start = step_of_epoch * self.batch_size
        return self._order[start : start + self.batch_size][self.own_rows]

    @property
    def own_rows(self) -> slice:
        """Rows of a batch that are this rank's share."""
        return slice(self._rank, None, self._world_size)

    def __getitem__(self, step: int) -> Batch:
        faces, features = load_faces(self._faces, self.positions(step))
        rng = np.random.default_rng([self._seed, _MASKS, step])
        noise = rng.random((self.batch_size, NUM_GRID_TOKENS), dtype=np.float32)
        ratios = np.array([self._masks.draw(rng) for _ in range(self.batch_size)])
        own = self.own_rows
        return Batch(faces, features, torch.from_numpy(noise[own]), torch.from_numpy(ratios[own]))

    def stream(self, start_step: int, stop_step: int, *, num_workers: int | None) -> Iterator[Batch]:
        """The batches of a range of steps, loaded ahead by ``num_workers`` processes.

        Raises:
            InputError: If a face cannot be decoded or is not square.
        """
        return prefetched_batches(self, range(start_step, stop_step), num_workers=num_workers)


def open_batches(
    faces: LmdbFaces, masks: MaskRatio, *, batch_size: int, num_held_out: int, seed: int
) -> tuple[FeatureBatches, NDArray[np.int64], NDArray[np.int64]]:
    """The batches of a training, of which this process takes its share, and how the set is divided.

    Args:
        faces: The training set, with features.
        masks: Distribution of the share of masked tokens.
        batch_size: Faces per step, over all processes.
        num_held_out: Identities that are not trained on.
        seed: Seed of the order, the masks and the held-out identities.

    Returns:
        The batches, positions of the faces to train on, and positions of the held-out faces.

    Raises:
        InputError: If fewer than two identities would be left to train on, or the set is too small for a batch.
    """
    trained, held_out = split_held_out(faces, num_held_out, seed)
    batches = FeatureBatches(faces, trained, masks, batch_size=batch_size, seed=seed)
    rank, world_size, _ = process_rank()
    batches.share(rank, world_size)
    return batches, trained, held_out
