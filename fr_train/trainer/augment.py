"""Augmentation of batches: uint8 faces in, uint8 faces out; then normalisation and random erasing on the device.

The augmentation of a face depends only on (seed, epoch, index). Every random number is a hash of these three and of
its purpose, so that batch size, workers, ranks and the other augmentations do not affect it. The order is that of
AdaFace's authors (arXiv 2204.00964 and code): crop, low resolution, photometric; then flip, normalise, erase.

Legend: B batch, K random numbers per face, H W pixels. uint8 batches are channels-last: (B, H, W, 3).
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
"""(mode, antialias) for OpenCV's nearest, linear, area, cubic and Lanczos, between which AdaFace's authors choose."""
_BRIGHTNESS, _CONTRAST, _SATURATION = range(3)
_ORDERS = tuple(permutations((_BRIGHTNESS, _CONTRAST, _SATURATION)))
_GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as in Pillow and torchvision


def draw(
    seed: int, epoch: int, indices: NDArray[np.int64], purpose: str, *, num_draws: int = _DRAWS_PER_PURPOSE
) -> NDArray[np.float64]:
    """Random numbers in [0, 1), uniform, float64, shape (B, K): a hash of (seed, epoch, index, purpose, k).

    Source: the mixing function of SplitMix64 (Steele, Lea and Flood 2014), one round for each part of the key.

    Args:
        seed: Seed of the run.
        epoch: Epoch, 0 first.
        indices: Position of each face in the dataset, shape (B,).
        purpose: One of ``_PURPOSES``.
        num_draws: Numbers K per face, at most 32.
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
    """Augment a batch in place, each augmentation with its own probability: crop, low resolution, photometric, flip.

    Args:
        faces: uint8 RGB, shape (B, H, W, 3).
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
    """Mirror the chosen faces left to right, in place. ``draws`` is not used."""
    for index in chosen.tolist():  # one face stays in the cache: five times as fast as faces[chosen].flip(2)
        faces[index] = faces[index].flip(1)


def crop_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Blacken the chosen faces outside a random box, in place.

    The box has 0.2 to 1 of the area and an aspect ratio of 0.75 to 1.33 (log-uniform). As in torchvision's
    RandomResizedCrop it is the first of ten boxes that fits, else the whole face; but the face is not resized.
    """
    height, width = faces.shape[1:3]
    area = (0.2 + 0.8 * draws[:, 0:10]) * height * width
    aspect = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * draws[:, 10:20])
    box_width = np.round(np.sqrt(area * aspect)).astype(int)
    box_height = np.round(np.sqrt(area / aspect)).astype(int)
    fits = (box_width > 0) & (box_width <= width) & (box_height > 0) & (box_height <= height)
    pixels = faces.numpy()  # small writes are five times as fast in NumPy as in torch
    for row, index in enumerate(chosen):
        if not fits[row].any():
            continue
        attempt = fits[row].argmax()
        box_h, box_w = box_height[row, attempt], box_width[row, attempt]
        top = int(draws[row, 20] * (height - box_h + 1))
        left = int(draws[row, 21] * (width - box_w + 1))
        face = pixels[index]
        face[:top] = 0
        face[top + box_h :] = 0
        face[:, :left] = 0
        face[:, left + box_w :] = 0


def low_resolution_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Shrink the chosen faces to 0.2 to 1 of their side and enlarge them again, each with a random interpolation."""
    height, width = faces.shape[1:3]
    planes = faces.permute(0, 3, 1, 2)  # (B, 3, H, W)
    for index, row in zip(chosen.tolist(), draws.tolist(), strict=True):
        ratio = 0.2 + 0.8 * row[0]
        face = planes[index : index + 1]
        small_size = (int(ratio * height), int(ratio * width))
        for size, resampling_draw in ((small_size, row[1]), ((height, width), row[2])):
            mode, antialias = _RESAMPLING[int(resampling_draw * len(_RESAMPLING))]
            face = F.interpolate(face, size=size, mode=mode, antialias=antialias)
        planes[index] = face[0]


def photometric_(faces: Tensor, chosen: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Scale brightness, contrast and saturation of the chosen faces by 0.5 to 1.5 each, in random order and in place.

    Values are clamped to [0, 255] after each of the three.
    """
    grey = torch.tensor(_GREY)
    to_grey = grey.view(3, 1).expand(3, 3)  # pixels (H * W, 3) @ to_grey sets every channel to the grey value
    identity = torch.eye(3)
    grey_of_row = grey.repeat(faces.shape[2])  # (W * 3,)
    uint8_faces = faces.numpy()
    for index, row in zip(chosen.tolist(), draws.tolist(), strict=True):
        pixels = faces[index].float()  # (H, W, 3), contiguous, so that each operation is one vectorised loop
        for step in _ORDERS[int(row[3] * len(_ORDERS))]:
            factor = 0.5 + row[step]
            if step == _BRIGHTNESS:
                pixels.mul_(factor)
            elif step == _CONTRAST:  # blend with the mean grey of the face
                mean = (pixels.flatten(1) @ grey_of_row).mean() / faces.shape[2]
                torch.add((1 - factor) * mean, pixels, alpha=factor, out=pixels)
            else:  # saturation: blend with the grey of each pixel
                pixels = (pixels.view(-1, 3) @ (factor * identity + (1 - factor) * to_grey)).view_as(pixels)
            pixels.clamp_(0, 255)
        uint8_faces[index] = pixels.add_(0.5).numpy()  # truncation rounds; NumPy is four times as fast as torch


def normalize(faces: Tensor, *, channels_last: bool = True) -> Tensor:
    """uint8 faces (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1], by (x - 127.5) / 127.5.

    Args:
        faces: The faces, on any device.
        channels_last: Whether the result is channels-last in memory.
    """
    if faces.device.type == "cpu":
        values = _normalize_on_cpu(faces)
        return values if channels_last else values.contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return faces.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout).sub_(127.5).div_(127.5)


def _normalize_on_cpu(faces: Tensor) -> Tensor:
    """``normalize`` face by face, channels-last. One face stays in the cache, which is three times as fast."""
    values = torch.empty(faces.shape)
    scratch = np.empty(faces.shape[1:], np.float32)
    for face, value in zip(faces.numpy(), values.numpy(), strict=True):
        scratch[...] = face
        scratch -= 127.5
        np.divide(scratch, 127.5, out=value)
    return values.permute(0, 3, 1, 2)


def erase_(faces: Tensor, settings: Erasing, *, seed: int, epoch: int, indices: NDArray[np.int64]) -> Tensor:
    """Erase a random rectangle of normalised faces in place, to 0, which is mid-grey.

    timm's RandomErasing draws from Python's global generator. The generator is seeded for each face and restored
    afterwards.

    Args:
        faces: Normalised faces, shape (B, 3, H, W).
        settings: Probability per face, and ranges of area and aspect ratio.
        seed: Seed of the run.
        epoch: Epoch, 0 first.
        indices: Position of each face in the dataset, shape (B,).

    Returns:
        ``faces``.
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
