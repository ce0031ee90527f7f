"""A face dataset in, batches in: decoded, augmented, in an order that only the seed and the epoch decide.

Step s of a run is the same batch on any machine: ``FaceBatches[s]`` needs no state, so workers, ranks and a resumed run
all see the same faces. Workers return uint8 (4x less to move than float32); the device normalises and erases.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_jpeg

from bench.config import Augmentation
from bench.errors import InputError
from bench.records import FACE_SIZE, Faces
from fr_train.augment import augment_, erase_, normalize

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


def decode_faces(faces: Faces, indices: NDArray[np.int64]) -> Tensor:
    """Faces as one batch, uint8, shape (B, 112, 112, 3), RGB; other sizes are resized.

    JPEG goes through libjpeg-turbo, twice as fast as through Pillow and equal to it bit for bit.

    Raises:
        InputError: If a record does not decode; names it.
    """
    batch = np.empty((len(indices), FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that bytes are read-only (they are only read), that the decoder will move
        for row, index in enumerate(indices.tolist()):
            image = _decode_jpeg(faces.encoded(index))
            if image is None:  # another format, or a damaged file that Pillow will name
                image = torch.from_numpy(faces.image(index).copy())
            batch[row] = (image if image.shape == batch.shape[1:] else _resize(image)).numpy()
    return torch.from_numpy(batch)


def _decode_jpeg(encoded: bytes) -> Tensor | None:
    if not encoded.startswith(_JPEG_START) or _JPEG_END not in encoded[-16:]:
        return None
    try:
        return decode_jpeg(torch.frombuffer(encoded, dtype=torch.uint8), mode=ImageReadMode.RGB).permute(1, 2, 0)
    except RuntimeError:
        return None


def _resize(image: Tensor) -> Tensor:
    batch = image.permute(2, 0, 1).unsqueeze(0)
    return F.interpolate(batch, size=(FACE_SIZE, FACE_SIZE), mode="bilinear", antialias=True)[0].permute(1, 2, 0)


@dataclass(frozen=True)
class Batch:
    """Faces of one step."""

    faces: Tensor
    """uint8, (B, 112, 112, 3)."""
    labels: Tensor
    """Identity of each face, int64, (B,)."""
    indices: NDArray[np.int64]
    """Position of each face in the dataset, (B,)."""
    epoch: int

    def on(self, device: torch.device, settings: Augmentation, seed: int, *, channels_last: bool) -> Tensor:
        """The network's input on a device: float32 (B, 3, 112, 112) in [-1, 1], erased."""
        faces = normalize(self.faces.to(device, non_blocking=True), channels_last=channels_last)
        return erase_(faces, settings.erasing, seed=seed, epoch=self.epoch, indices=self.indices)


class FaceBatches(Dataset):
    """All steps of a run: item s is the batch of step s, or this rank's share of it.

    Every epoch is a permutation of all faces; the last, incomplete batch of an epoch is dropped.
    """

    def __init__(
        self,
        faces: Faces,
        settings: Augmentation,
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size > len(faces):
            raise InputError(f"batch_size={batch_size} exceeds the dataset of {len(faces)} faces; set a smaller one")
        if batch_size % world_size:
            raise InputError(
                f"batch_size={batch_size} is global and does not divide by {world_size} processes; change NPROC"
            )
        self.steps_per_epoch = len(faces) // batch_size
        self._faces, self._settings, self._seed = faces, settings, seed
        self._batch_size, self._epochs = batch_size, epochs
        self._rank, self._world_size = rank, world_size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self.steps_per_epoch * self._epochs

    def __getitem__(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._faces))
        start = position * self._batch_size
        indices = self._order[1][start : start + self._batch_size][self._rank :: self._world_size]
        faces = augment_(decode_faces(self._faces, indices), self._settings, self._seed, epoch, indices)
        return Batch(faces, torch.from_numpy(self._faces.identity_ids[indices]), indices, epoch)

    def loader(self, start_step: int, *, num_workers: int) -> DataLoader:
        """The batches from ``start_step`` on, in order, made ahead by worker processes."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start_step, len(self)),
            num_workers=num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else a new loader draws from the run's generator, and a resumed run differs
            worker_init_fn=_one_thread,
        )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
