"""Augmentation of whole batches: uint8 faces in, uint8 faces out; then normalising and random erasing on the device.

What happens to a face depends on (seed, epoch, index) alone: every random number is a hash of these three and of its
own purpose, so neither batch, worker, rank nor the other settings change it. The three AdaFace augmentations follow the
authors' order: crop, low resolution, photometric (arXiv 2204.00964 and code); then flip, normalise, erase.

Legend: B batch, K draws per face, H W pixels. Batches are channels-last, as images are decoded: (B, H, W, 3).
"""

import random
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.nn import functional as F

from bench.config.recipe import Augmentation, Erasing

_PURPOSES = ("flip", "erasing", "crop", "low_resolution", "photometric", "identities")
_DRAWS_PER_PURPOSE = 32
_RESAMPLING = (("nearest", False), ("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True))
"""(mode, antialias) in the place of OpenCV's nearest, linear, area, cubic and Lanczos."""
_BRIGHTNESS, _CONTRAST, _SATURATION = range(3)
_ORDERS = tuple(permutations((_BRIGHTNESS, _CONTRAST, _SATURATION)))
_GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as in Pillow and torchvision


def draw(
    seed: int, epoch: int, indices: NDArray[np.int64], purpose: str, *, num_draws: int = _DRAWS_PER_PURPOSE
) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), shape (B, K): a hash of (seed, epoch, index, purpose, k).

    Source: the mixing function of SplitMix64 (Steele, Lea and Flood 2014), one round for each part.
    """
    key = np.full((1, 1), 0x9E3779B97F4A7C15, dtype=np.uint64)
    counter = np.arange(num_draws) + _DRAWS_PER_PURPOSE * _PURPOSES.index(purpose)
    for part in (np.array([[seed]]), np.array([[epoch]]), indices[:, None], counter[None, :]):
        key = _mix(key ^ (part.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)))
    return (key >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


def augment_(faces: Tensor, settings: Augmentation, seed: int, epoch: int, indices: NDArray[np.int64]) -> Tensor:
    """Augment a batch in place: crop, low resolution, photometric, flip.

    Args:
        faces: uint8, shape (B, H, W, 3).
        settings: Probability of each augmentation.
        seed: Seed of the run.
        epoch: Epoch, 0 first.
        indices: Position of each face in the dataset, shape (B,).

    Returns:
        ``faces``.
    """
    for purpose, probability, apply_ in (
        ("crop", settings.crop, crop_),
        ("low_resolution", settings.low_resolution, low_resolution_),
        ("photometric", settings.photometric, photometric_),
        ("flip", settings.flip, flip_),
    ):
        if probability > 0:
            draws = draw(seed, epoch, indices, purpose)
            chosen = np.flatnonzero(draws[:, 0] < probability)
            if len(chosen):
                apply_(faces, chosen, draws[chosen, 1:])
    return faces


def flip_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Mirror left and right."""
    for index in chosen.tolist():  # five times as fast as faces[chosen].flip(2): a face stays in the cache
        faces[index] = faces[index].flip(1)


def crop_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Keep a random box where it is and blacken the rest: area 0.2 to 1, aspect ratio 0.75 to 1.33 (log-uniform).

    As torchvision's RandomResizedCrop without the resizing: the first of ten boxes that fits, else the whole face.
    """
    height, width = faces.shape[1:3]
    area = (0.2 + 0.8 * draws[:, 0:10]) * height * width
    aspect = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * draws[:, 10:20])
    box_width = np.round(np.sqrt(area * aspect)).astype(int)
    box_height = np.round(np.sqrt(area / aspect)).astype(int)
    fits = (box_width > 0) & (box_width <= width) & (box_height > 0) & (box_height <= height)
    bytes_ = faces.numpy()  # NumPy's small writes take a fifth of torch's
    for row, index in enumerate(chosen):
        if not fits[row].any():
            continue
        attempt = fits[row].argmax()
        box_h, box_w = box_height[row, attempt], box_width[row, attempt]
        top = int(draws[row, 20] * (height - box_h + 1))
        left = int(draws[row, 21] * (width - box_w + 1))
        face = bytes_[index]
        face[:top] = 0
        face[top + box_h :] = 0
        face[:, :left] = 0
        face[:, left + box_w :] = 0


def low_resolution_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Shrink to a side of 0.2 to 1 and enlarge again, each with a resampling of its own."""
    height, width = faces.shape[1:3]
    planes = faces.permute(0, 3, 1, 2)  # (B, 3, H, W)
    for index, row in zip(chosen.tolist(), draws.tolist(), strict=True):
        ratio = 0.2 + 0.8 * row[0]
        face = planes[index : index + 1]
        for size, draw_ in (((int(ratio * height), int(ratio * width)), row[1]), ((height, width), row[2])):
            mode, antialias = _RESAMPLING[int(draw_ * len(_RESAMPLING))]
            face = F.interpolate(face, size=size, mode=mode, antialias=antialias)
        planes[index] = face[0]


def photometric_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Brightness, contrast and saturation times 0.5 to 1.5 each, in random order, clamped after each."""
    grey = torch.tensor(_GREY)
    to_grey, keep = grey.view(3, 1).expand(3, 3), torch.eye(3)  # pixels (H * W, 3) @ to_grey: each channel the grey
    grey_of_row = grey.repeat(faces.shape[2])  # (W * 3,)
    bytes_ = faces.numpy()
    for index, row in zip(chosen.tolist(), draws.tolist(), strict=True):
        pixels = faces[index].float()  # (H, W, 3), channels beside each other: every pass is one long loop
        for step in _ORDERS[int(row[3] * len(_ORDERS))]:
            factor = 0.5 + row[step]
            if step == _BRIGHTNESS:
                pixels.mul_(factor)
            elif step == _CONTRAST:  # blend with grey, which at factor 0 is all that is left: here its mean
                mean = (pixels.flatten(1) @ grey_of_row).mean() / faces.shape[2]
                torch.add((1 - factor) * mean, pixels, alpha=factor, out=pixels)
            else:
                pixels = (pixels.view(-1, 3) @ (factor * keep + (1 - factor) * to_grey)).view_as(pixels)
            pixels.clamp_(0, 255)
        bytes_[index] = pixels.add_(0.5).numpy()  # cuts the fraction off; NumPy converts four times as fast


def normalize(faces: Tensor, *, channels_last: bool = True) -> Tensor:
    """uint8 (B, H, W, 3) in 0 .. 255 -> float32 (B, 3, H, W) in [-1, 1]; (x - 127.5) / 127.5."""
    if faces.device.type == "cpu":
        values = _normalize_one_by_one(faces)
        return values if channels_last else values.contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return faces.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout).sub_(127.5).div_(127.5)


def _normalize_one_by_one(faces: Tensor) -> Tensor:
    """As ``normalize``, channels-last, on a CPU: three times as fast, because a face stays in the cache."""
    values = torch.empty(faces.shape)
    scratch = np.empty(faces.shape[1:], np.float32)
    for face, value in zip(faces.numpy(), values.numpy(), strict=True):
        scratch[...] = face
        scratch -= 127.5
        np.divide(scratch, 127.5, out=value)
    return values.permute(0, 3, 1, 2)


def erase_(faces: Tensor, settings: Erasing, *, seed: int, epoch: int, indices: NDArray[np.int64]) -> Tensor:
    """Random erasing of normalised faces (B, 3, H, W) in place, to 0, which is mid-grey.

    timm's RandomErasing, which draws from Python's global generator: that is seeded for each face and put back after.
    """
    if settings.probability == 0:
        return faces
    draws = draw(seed, epoch, indices, "erasing")
    eraser = RandomErasing(
        1.0, settings.min_area, settings.max_area, settings.min_aspect, mode="const", device=str(faces.device)
    )
    state = random.getstate()
    for index in np.flatnonzero(draws[:, 0] < settings.probability):
        random.seed(int(draws[index, 1] * 2**53))
        eraser(faces[index])
    random.setstate(state)
    return faces
