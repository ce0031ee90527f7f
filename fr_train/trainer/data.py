"""A face dataset in, batches for training out: decoded and augmented, in an order that depends on seed and epoch alone.

``FaceBatches[s]`` is the batch of step s of a run. It depends on no state, so that workers, ranks and resumed runs see
the same faces. Workers return uint8, a quarter of the size of float32; the device normalises and erases.

Legend: B faces of a batch or of a rank's share of it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_jpeg

from bench.config.recipe import Augmentation, Recipe
from bench.errors import InputError
from bench.faces.face import FACE_SIZE, Faces, to_face_size
from bench.faces.pixels import to_pixels
from bench.machine.loading import prefetched_batches
from fr_train.trainer.augment import augment_, erase_, normalize

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_ORIENTATION_MARKS = (b"Exif\0\0", b"tiff:Orientation")
"""Bytes of EXIF data. A file that holds them may need rotation, which ``faces.image`` does for all stages."""


def decode_faces(faces: Faces, indices: NDArray[np.int64]) -> Tensor:
    """Decode faces of a dataset: uint8 RGB, shape (B, 112, 112, 3). Square faces of other sizes are scaled.

    JPEG is decoded by libjpeg-turbo, which is twice as fast as Pillow and gives the same bits.

    Args:
        faces: The dataset.
        indices: Positions in the dataset, shape (B,).

    Raises:
        InputError: If a record does not decode, or is not square. The message names it.
    """
    batch = np.empty((len(indices), FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of read-only bytes, torchvision that its decoder will move
        for row, index in enumerate(indices.tolist()):
            image = _decode_jpeg(faces.encoded(index))
            if image is None:  # another format, or a damaged file, for which faces.image raises an error
                image = faces.image(index)
            batch[row] = to_face_size(image, faces.name(index))
    return torch.from_numpy(batch)


def _decode_jpeg(encoded: bytes) -> NDArray[np.uint8] | None:
    """A JPEG file as uint8 RGB (H, W, 3); None for other formats, damaged files and files with an orientation."""
    if not encoded.startswith(_JPEG_START) or _JPEG_END not in encoded[-16:]:
        return None
    if any(mark in encoded for mark in _ORIENTATION_MARKS):
        return None
    try:
        image = decode_jpeg(torch.frombuffer(encoded, dtype=torch.uint8), mode=ImageReadMode.RGB)
        return image.permute(1, 2, 0).numpy()
    except RuntimeError:
        return None


@dataclass(frozen=True)
class Batch:
    """Faces of one step: the global batch, a rank's share of it, or a micro batch."""

    faces: Tensor
    """Augmented faces, uint8 RGB, shape (B, 112, 112, 3)."""
    labels: Tensor
    """Identity of each face, int64, shape (B,)."""
    indices: NDArray[np.int64]
    """Position of each face in the dataset, shape (B,)."""
    epoch: int
    corrupt: dict[int, str] = field(default_factory=dict)
    """Position -> problem, for each record that does not decode and was replaced by another face."""

    def __len__(self) -> int:
        return len(self.labels)

    def network_input(self, device: torch.device, settings: Augmentation, seed: int, *, channels_last: bool) -> Tensor:
        """Normalised and randomly erased faces on a device: float32 (B, 3, 112, 112) in [-1, 1]."""
        faces = normalize(self.faces.to(device, non_blocking=True), channels_last=channels_last)
        return erase_(faces, settings.erasing, seed=seed, epoch=self.epoch, indices=self.indices)

    def split(self, num_faces: int) -> list["Batch"]:
        """Micro batches of ``num_faces`` faces, in order."""
        rows = [slice(start, start + num_faces) for start in range(0, len(self), num_faces)]
        return [Batch(self.faces[part], self.labels[part], self.indices[part], self.epoch) for part in rows]

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, for asynchronous copies to a GPU. The ``DataLoader`` calls this."""
        return Batch(self.faces.pin_memory(), self.labels.pin_memory(), self.indices, self.epoch, self.corrupt)


class FaceBatches(Dataset[Batch]):
    """The batches of all steps of a run: item s is this rank's share of the batch of step s.

    Every epoch is a new permutation of all faces. Its last batch is dropped if it is incomplete.

    Args:
        faces: The dataset.
        recipe: Gives batch size, epochs, augmentation, and whether records that do not decode are skipped.
        seed: Seed of order and augmentation.
        rank: Rank of this process.
        world_size: Number of processes that share a batch.

    Raises:
        InputError: If the dataset is empty, smaller than a batch or wrongly labelled, or if the number of processes
            does not divide the batch.
    """

    def __init__(self, faces: Faces, recipe: Recipe, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        _check_faces(faces, recipe.batch_size)
        _check_world_size(recipe.batch_size, world_size)
        self.steps_per_epoch = len(faces) // recipe.batch_size
        self._faces, self._recipe, self._seed = faces, recipe, seed
        self._rank, self._world_size = rank, world_size
        self._order: tuple[int, NDArray[np.uint32]] = (-1, np.empty(0, np.uint32))

    def __len__(self) -> int:
        return self.steps_per_epoch * self._recipe.schedule.epochs

    def __getitem__(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, _order_of_epoch(len(self._faces), self._seed, epoch)
        start = position * self._recipe.batch_size
        batch = self._order[1][start : start + self._recipe.batch_size]
        indices = batch[self._rank :: self._world_size].astype(np.int64)
        corrupt: dict[int, str] = {}
        decoded = indices
        try:
            faces = decode_faces(self._faces, indices)
        except InputError:
            if not self._recipe.skip_corrupt:
                raise
            decoded = np.array([self._next_valid(int(index), corrupt) for index in indices])
            faces = decode_faces(self._faces, decoded)
        augment_(faces, self._recipe.augmentation, self._seed, epoch, indices)
        return Batch(faces, torch.from_numpy(self._faces.identity_ids[decoded]), indices, epoch, corrupt)

    def _next_valid(self, index: int, corrupt: dict[int, str]) -> int:
        """The first position from ``index`` on that decodes; adds those before it to ``corrupt``."""
        num_faces = len(self._faces)
        for offset in range(num_faces):
            position = (index + offset) % num_faces
            try:
                decode_faces(self._faces, np.array([position]))
            except InputError as error:
                corrupt[position] = str(error)
            else:
                return position
        raise InputError(f"none of {num_faces} faces decodes; fetch or write the dataset again")

    def stream(self, start_step: int, *, num_workers: int | None) -> Iterator[Batch]:
        """The batches from ``start_step`` to the end of the run.

        Args:
            start_step: First step, 0 for a new run.
            num_workers: Worker processes, as for ``prefetched_batches``.

        Raises:
            InputError: If a record does not decode and the recipe does not skip it.
        """
        return prefetched_batches(self, range(start_step, len(self)), num_workers=num_workers)

    def sample_grid(self, *, num_rows: int = 8, num_columns: int = 8) -> list[list[NDArray[np.uint8]]]:
        """Rows of faces of the first batch as the network gets them, augmented and erased, each uint8 (H, W, 3)."""
        first = self[0].split(num_rows * num_columns)[0]
        faces = first.network_input(torch.device("cpu"), self._recipe.augmentation, self._seed, channels_last=False)
        pixels = to_pixels(faces)
        return [list(pixels[start : start + num_columns]) for start in range(0, len(pixels), num_columns)]


def _order_of_epoch(num_faces: int, seed: int, epoch: int) -> NDArray[np.uint32]:
    """All positions in random order. Each worker keeps one such array, so half the bytes of int64 matter."""
    return np.random.default_rng([seed, epoch]).permutation(np.arange(num_faces, dtype=np.uint32))


def _check_faces(faces: Faces, batch_size: int) -> None:
    if not len(faces):
        raise InputError(f"{faces.path} holds no faces; give a dataset with at least batch_size={batch_size} of them")
    if batch_size > len(faces):
        raise InputError(f"batch_size={batch_size} exceeds the dataset of {len(faces)} faces; set a smaller one")
    wrong = np.flatnonzero((faces.identity_ids < 0) | (faces.identity_ids >= faces.num_identities))
    if len(wrong):
        raise InputError(
            f"{faces.path}: face {wrong[0]} has identity {faces.identity_ids[wrong[0]]}, outside 0 to "
            f"{faces.num_identities - 1} ({len(wrong)} such faces); number the identities from 0 without gaps"
        )


def _check_world_size(batch_size: int, world_size: int) -> None:
    valid_sizes = [n for n in range(1, batch_size // 2 + 1) if batch_size % n == 0]  # batch norm needs two faces
    if world_size not in valid_sizes:
        problem = "does not divide by" if batch_size % world_size else "leaves one face to each of"
        nearest = sorted(valid_sizes, key=lambda n: (abs(n - world_size), n))[:2]
        raise InputError(
            f"batch_size={batch_size} is global and {problem} {world_size} processes; "
            f"set NPROC={' or '.join(map(str, sorted(nearest)))}"
        )
