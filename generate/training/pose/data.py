"""Faces with features and landmark pictures -> the batches of a pose training.

As in ``generate/training/data.py``, the batch of a step depends on seed and step alone, and each rank gets its share.
Shapes: ``B`` batch, ``D`` width of the features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bench.faces.lmdb_file import LmdbFaces
from bench.faces.pixels import to_network_input
from bench.machine.loading import prefetched_batches
from generate.networks.plus.pictures import check_picture
from generate.training.data import Batch, FeatureBatches
from generate.training.pose.exchange import PoseExchange

_OTHERS = 3
"""Stream of random numbers below the seed; ``generate/training/data.py`` uses 0 to 2."""
_CHECKED_PICTURES = 16


@dataclass(frozen=True)
class PoseBatch:
    """Faces of one step with their landmark pictures, or one rank's share of them."""

    batch: Batch
    """Faces, their own features, and masks."""
    pictures: Tensor
    """Landmark pictures, uint8 RGB, (B, 112, 112, 3)."""
    inputs: Tensor
    """Features that the generator gets, float32, (B, D): the faces' own, or those with another pose."""

    def to(self, device: torch.device) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
        """What ``Batch.to`` gives, pictures as (B, 3, 112, 112) in [-1, 1], and the generator's features."""
        pictures = to_network_input(self.pictures, device).contiguous()
        return self.batch.to(device), pictures, self.inputs.to(device, non_blocking=True)


def check_pictures(faces: LmdbFaces) -> None:
    """Refuse a training set without landmark pictures, by 16 faces spread over it.

    Raises:
        InputError: If a record has no landmark picture, or it has another size or order of colours.
    """
    for index in np.linspace(0, len(faces) - 1, min(_CHECKED_PICTURES, len(faces))).astype(int).tolist():
        check_picture(faces.landmark_picture(index), f"landmark picture of {faces.name(index)}")


def load_pictures(faces: LmdbFaces, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Landmark pictures of some faces, uint8 RGB, shape (B, 112, 112, 3).

    Raises:
        InputError: If a face has none, or it does not decode or has another size; names it.
    """
    return np.stack([faces.landmark_picture(int(position)) for position in positions])


class PoseBatches(Dataset[PoseBatch]):
    """The batches of a run: item s is the batch of step s, or this rank's share of it.

    Args:
        batches: Faces, features and masks of every step.
        faces: The training set.
        others: Positions of the faces whose pose the features may get.
        seed: Seed of the run.
        exchange: Exchanges the pose in the features; None leaves them unchanged.
    """

    def __init__(
        self,
        batches: FeatureBatches,
        faces: LmdbFaces,
        others: NDArray[np.int64],
        *,
        seed: int,
        exchange: PoseExchange | None = None,
    ) -> None:
        self._batches, self._faces, self._others = batches, faces, others
        self._seed, self._exchange = seed, exchange

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        return self._batches.steps_per_epoch

    def __getitem__(self, step: int) -> PoseBatch:
        batch, positions = self._batches[step], self._batches.positions(step)
        pictures, inputs = load_pictures(self._faces, positions), batch.features
        if self._exchange is not None:
            rng = np.random.default_rng([self._seed, _OTHERS, step])
            drawn = rng.choice(self._others, self._batches.batch_size)[self._batches.own_rows]
            other = load_pictures(self._faces, drawn)
            inputs = torch.from_numpy(self._exchange(batch.features.numpy(), pictures, other))
        return PoseBatch(batch, torch.from_numpy(pictures), inputs)

    def stream(self, start_step: int, stop_step: int, *, num_workers: int | None) -> Iterator[PoseBatch]:
        """The batches of a range of steps, loaded ahead by ``num_workers`` processes.

        Raises:
            InputError: If a face or its landmark picture is damaged.
        """
        return prefetched_batches(self, range(start_step, stop_step), num_workers=num_workers)
