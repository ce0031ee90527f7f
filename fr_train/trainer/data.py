"""A face dataset in, batches in: decoded, augmented, in an order that only the seed and the epoch decide.

Step s of a run is the same batch on any machine: ``FaceBatches[s]`` needs no state, so workers, ranks and a resumed run
all see the same faces. Workers return uint8 (4x less to move than float32); the device normalises and erases.
"""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_jpeg

from bench.config.recipe import Augmentation, Recipe
from bench.errors import InputError
from bench.faces.lmdb_file import FACE_SIZE, Faces
from bench.machine.loading import prefetched_batches
from fr_train.trainer.augment import augment_, erase_, normalize

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_NUM_SIZES_LOOKED_AT = 32


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


def other_size(faces: Faces) -> tuple[int, int] | None:
    """Width and height of the faces where they are not 112 x 112; None where they are. Looks at a few of them."""
    for index in np.linspace(0, len(faces) - 1, min(_NUM_SIZES_LOOKED_AT, len(faces))).astype(int):
        try:
            size = Image.open(io.BytesIO(faces.encoded(int(index)))).size
        except (UnidentifiedImageError, OSError, SyntaxError, InputError):
            continue  # named when it is its turn
        if size != (FACE_SIZE, FACE_SIZE):
            return size
    return None


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
    corrupt: dict[int, str] = field(default_factory=dict)
    """Positions of records that do not decode and have a stand-in here, and what is wrong with each."""

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, device: torch.device, settings: Augmentation, seed: int, *, channels_last: bool) -> Tensor:
        """The network's input on a device: float32 (B, 3, 112, 112) in [-1, 1], erased."""
        faces = normalize(self.faces.to(device, non_blocking=True), channels_last=channels_last)
        return erase_(faces, settings.erasing, seed=seed, epoch=self.epoch, indices=self.indices)

    def parts(self, num_faces: int) -> list["Batch"]:
        """The batch in parts of ``num_faces``, in order."""
        starts = range(0, len(self), num_faces)
        chosen = [slice(start, start + num_faces) for start in starts]
        return [Batch(self.faces[one], self.labels[one], self.indices[one], self.epoch) for one in chosen]

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory, for copies to a GPU that do not wait; called by the loader."""
        return Batch(self.faces.pin_memory(), self.labels.pin_memory(), self.indices, self.epoch, self.corrupt)


class FaceBatches(Dataset[Batch]):
    """All steps of a run: item s is the batch of step s, or this rank's share of it.

    Every epoch is a permutation of all faces; the last, incomplete batch of an epoch is dropped.

    Args:
        faces: The dataset.
        recipe: For batch size, epochs, augmentation, and whether records that do not decode are skipped.
        seed: Of order and augmentation.
        rank: This process.
        world_size: Number of processes that share a batch.

    Raises:
        InputError: If the dataset is empty, smaller than a batch, or wrongly labelled, or the processes do not fit.
    """

    def __init__(self, faces: Faces, recipe: Recipe, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        _check_faces(faces, recipe.batch_size)
        _check_world_size(recipe.batch_size, world_size)
        self.steps_per_epoch = len(faces) // recipe.batch_size
        self._faces, self._recipe, self._seed = faces, recipe, seed
        self._rank, self._world_size = rank, world_size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self.steps_per_epoch * self._recipe.schedule.epochs

    def __getitem__(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._faces))
        start = position * self._recipe.batch_size
        indices = self._order[1][start : start + self._recipe.batch_size][self._rank :: self._world_size]
        corrupt: dict[int, str] = {}
        used = indices
        try:
            faces = decode_faces(self._faces, indices)
        except InputError:
            if not self._recipe.skip_corrupt:
                raise
            used = np.array([self._stand_in(int(index), corrupt) for index in indices])
            faces = decode_faces(self._faces, used)
        augment_(faces, self._recipe.augmentation, self._seed, epoch, indices)
        return Batch(faces, torch.from_numpy(self._faces.identity_ids[used]), indices, epoch, corrupt)

    def _stand_in(self, index: int, corrupt: dict[int, str]) -> int:
        """The face itself if it decodes, else the next one in the dataset that does."""
        for candidate in range(index, index + len(self._faces)):
            try:
                decode_faces(self._faces, np.array([candidate % len(self._faces)]))
            except InputError as error:
                corrupt[candidate % len(self._faces)] = str(error)
            else:
                return candidate % len(self._faces)
        raise InputError(f"none of {len(self._faces)} faces decodes; fetch or write the dataset again")

    def stream(self, start_step: int, *, num_workers: int | None) -> Iterator[Batch]:
        """The batches from ``start_step`` on; see ``prefetched_batches``.

        Raises:
            InputError: If a record does not decode and the recipe does not skip it.
        """
        return prefetched_batches(self, range(start_step, len(self)), num_workers=num_workers)

    def sample_grid(self, *, num_rows: int = 8, num_columns: int = 8) -> list[list[NDArray[np.uint8]]]:
        """What the network sees of the first batch: augmented, normalised and erased, then back as uint8."""
        first = self[0].parts(num_rows * num_columns)[0]
        seen = first.on(torch.device("cpu"), self._recipe.augmentation, self._seed, channels_last=False)
        pixels = seen.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return [list(pixels[start : start + num_columns]) for start in range(0, len(pixels), num_columns)]


def _check_faces(faces: Faces, batch_size: int) -> None:
    if not len(faces):
        raise InputError(f"{faces.path} holds no faces; give a dataset with at least batch_size={batch_size} of them")
    if batch_size > len(faces):
        raise InputError(f"batch_size={batch_size} exceeds the dataset of {len(faces)} faces; set a smaller one")
    wrong = np.flatnonzero((faces.identity_ids < 0) | (faces.identity_ids >= faces.num_identities))
    if len(wrong):
        raise InputError(
            f"{faces.path}: face {wrong[0]} has identity {faces.identity_ids[wrong[0]]}, of {faces.num_identities} "
            f"the last is {faces.num_identities - 1} ({len(wrong)} such faces); label them 0 and up, without gaps"
        )


def _check_world_size(batch_size: int, world_size: int) -> None:
    fitting = [n for n in range(1, batch_size // 2 + 1) if batch_size % n == 0]  # batch norm needs two faces each
    if world_size not in fitting:
        problem = "does not divide by" if batch_size % world_size else "leaves one face to each of"
        nearest = sorted(fitting, key=lambda n: (abs(n - world_size), n))[:2]
        raise InputError(
            f"batch_size={batch_size} is global and {problem} {world_size} processes; "
            f"set NPROC={' or '.join(map(str, sorted(nearest)))}"
        )
