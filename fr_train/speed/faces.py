"""Speed of decoding and augmentation: our batches compared with Pillow and torchvision, one image at a time.

Both read the same LMDB and end with a float32 batch, normalised and erased, on one core. The official loader of the
trainer that HSFace's authors use can run beside them, from a clone. In: faces and a recipe. Out: rows of a table with
images per second.
"""

import io
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torchvision import transforms
from torchvision.transforms import functional as TF

from bench.config.recipe import Augmentation, Recipe
from bench.faces.face import FACE_SIZE, Faces
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from bench.machine.device import keep_freed_memory
from bench.speed.official import official_module
from fr_train.trainer.data import FaceBatches, decode_faces

BATCH_SIZE = 64
NUM_PASSES = 5
QUALITIES = {"JPEG 75, 4:2:0": (75, 2), "JPEG 95, 4:4:4": (95, 0)}
"""Name -> quality and Pillow's chroma subsampling. The first is the default of Pillow and the quality of HSFace; the
second is that of datasets which this suite generates."""
_RESAMPLING = [
    Image.Resampling.NEAREST,
    Image.Resampling.BILINEAR,
    Image.Resampling.BOX,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
]
_ADJUST = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation)

Row = dict[str, str | float | None]
"""Row of a table of ``bench.speed``: title of a column -> value."""


def face_rows(images: NDArray[np.uint8], recipe: Recipe, official: Path | None = None) -> list[Row]:
    """Images per second and core: decoding alone, with flip and erasing, and with a recipe's whole augmentation.

    Args:
        images: Faces, uint8, shape (N, 112, 112, 3).
        recipe: Gives the augmentation.
        official: Clone of HaiyuWu/SOTA-Face-Recognition-Train-and-Test, whose own loader is measured too.

    Raises:
        InputError: ``official`` is no such clone, or a package that it imports is not installed.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in training; both loaders gain from it
    rows: list[Row] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in QUALITIES:
                rows += _rows_of_quality(name, images, recipe, Path(folder), official)
    finally:
        torch.set_num_threads(num_threads)
    return rows


def _rows_of_quality(
    name: str, images: NDArray[np.uint8], recipe: Recipe, folder: Path, official: Path | None
) -> list[Row]:
    quality, subsampling = QUALITIES[name]
    files = [_jpeg(image, quality, subsampling) for image in images]
    path = folder / f"{quality}.lmdb"
    with FaceWriter(path) as writer:
        for index, file in enumerate(files):
            writer.write(file, index % 2)
    faces, rows = open_faces(path), list[Row]()
    for label, augmentation in (
        ("nothing (decoding alone)", None),
        ("flip + erasing", Augmentation(flip=0.5, erasing=recipe.augmentation.erasing)),
        ("all of HSFace's recipe", recipe.augmentation),
    ):
        loaders = _loaders(faces, recipe, augmentation)
        if official:
            loaders.append(_official_loader(official, path, augmentation))
        plain, ours, *others = (len(images) / seconds for seconds in fastest_seconds(loaders))
        row: Row = {
            "files": f"{name}, {np.mean([len(file) for file in files]):,.0f} bytes",
            "augmentation": label,
            "PIL + torchvision images/s": plain,
            "ours images/s": ours,
            "times": ours / plain,
        }
        if others:
            row |= {"official loader images/s": others[0], "times official": ours / others[0]}
        rows.append(row)
    return rows


def _loaders(faces: Faces, recipe: Recipe, augmentation: Augmentation | None) -> list[Callable[[], object]]:
    """The plain loader and ours, as functions that load all faces once; without an augmentation they only decode."""
    starts = range(0, len(faces), BATCH_SIZE)
    if augmentation is None:
        indices = np.arange(len(faces))
        return [
            lambda: [np.asarray(Image.open(io.BytesIO(faces.encoded(i))).convert("RGB")) for i in range(len(faces))],
            lambda: [decode_faces(faces, indices[start : start + BATCH_SIZE]) for start in starts],
        ]
    load = PlainLoader(faces, augmentation)
    settings = {"batch_size": BATCH_SIZE, "augmentation": augmentation}
    batches, device = FaceBatches(faces, recipe.model_copy(update=settings), seed=0), torch.device("cpu")
    return [
        lambda: [default_collate([load(i) for i in range(start, start + BATCH_SIZE)]) for start in starts],
        lambda: [
            batches[step].network_input(device, augmentation, 0, channels_last=True)
            for step in range(batches.steps_per_epoch)
        ],
    ]


def _official_loader(official: Path, path: Path, augmentation: Augmentation | None) -> Callable[[], object]:
    """The official trainer's loader of an LMDB in this process, as a function that loads all faces once.

    torch's DataLoader replaces its thread that copies batches to a GPU.
    """
    # lmdb refuses to open a file twice in one process
    path = Path(shutil.copy(path, path.parent / f"{uuid.uuid4()}.lmdb"))
    with official_module(official, "data.data_loader_train_lmdb") as module:
        if augmentation is None:
            dataset = module.LMDB(str(path))
            return lambda: [np.asarray(dataset[i][0]) for i in range(len(dataset))]
        vars(module)["DataLoaderX"] = _without_rank
        config = SimpleNamespace(
            train_source=str(path),
            mask=None,
            label_map=None,
            augment=bool(augmentation.crop),
            rand_erase=True,
            fixed_size=None,
            batch_size=BATCH_SIZE,
            workers=0,
            pin_memory=False,
        )
        loader = module.LMDBDataLoader(config).get_loader()
    return lambda: list(loader)


def _without_rank(local_rank: int, **settings: Any) -> DataLoader[Any]:
    return DataLoader(**settings)


def fastest_seconds(loaders: Sequence[Callable[[], object]], num_passes: int | None = None) -> list[float]:
    """Seconds of the fastest of ``num_passes`` (default: NUM_PASSES) passes of each loader; the loaders take turns.

    The fastest pass is the least disturbed, as other programs on the machine can only slow a pass down.
    """
    seconds: list[list[float]] = [[] for _ in loaders]
    for _ in range(num_passes or NUM_PASSES):
        for load_all, times in zip(loaders, seconds, strict=True):
            start = time.perf_counter()
            load_all()
            times.append(time.perf_counter() - start)
    return [min(times) for times in seconds]


class PlainLoader:
    """Loads one face at a time, as common trainers do: Pillow, AdaFace's three augmentations, torchvision."""

    def __init__(self, faces: Faces, settings: Augmentation) -> None:
        self._faces, self._settings = faces, settings
        erasing = settings.erasing
        self._finish = transforms.Compose(
            [
                transforms.Resize((FACE_SIZE, FACE_SIZE)),
                transforms.RandomHorizontalFlip(settings.flip),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
                transforms.RandomErasing(
                    erasing.probability, (erasing.min_area, erasing.max_area), (erasing.min_aspect, 3.3)
                ),
            ]
        )

    def __call__(self, index: int) -> tuple[Tensor, int]:
        """A face, float32 (3, 112, 112) in [-1, 1], and its identity."""
        face = Image.open(io.BytesIO(self._faces.encoded(index))).convert("RGB")
        for probability, apply_ in (
            (self._settings.crop, _crop),
            (self._settings.low_resolution, _low_resolution),
            (self._settings.photometric, _photometric),
        ):
            if probability and np.random.random() < probability:  # noqa: NPY002 (as common trainers do)
                face = apply_(face)
        return self._finish(face), int(self._faces.identity_ids[index])


def _crop(face: Image.Image) -> Image.Image:
    top, left, height, width = transforms.RandomResizedCrop.get_params(face, [0.2, 1.0], [3 / 4, 4 / 3])
    cropped = np.zeros_like(np.asarray(face))
    cropped[top : top + height, left : left + width] = np.asarray(TF.crop(face, top, left, height, width))
    return Image.fromarray(cropped)


def _low_resolution(face: Image.Image) -> Image.Image:
    side = int(FACE_SIZE * np.random.uniform(0.2, 1.0))  # noqa: NPY002
    down, up = np.random.choice(_RESAMPLING, 2)  # noqa: NPY002
    return face.resize((side, side), down).resize((FACE_SIZE, FACE_SIZE), up)


def _photometric(face: Image.Image) -> Image.Image:
    order, *factors, _ = transforms.ColorJitter.get_params([0.5, 1.5], [0.5, 1.5], [0.5, 1.5], None)
    for step in order.tolist():
        if step < len(_ADJUST):
            face = _ADJUST[step](face, factors[step])
    return face


def _jpeg(image: NDArray[np.uint8], quality: int, subsampling: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()
