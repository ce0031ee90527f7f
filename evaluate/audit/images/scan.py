"""Images of a source -> one table row per image: does it decode, size, brightness, sharpness, colour, and two hashes.

The digest is equal for images with equal pixels (exact duplicates). The perceptual hash (pHash: the signs of 64 low
frequencies of a cosine transform) differs in at most ``NEAR_BITS`` bits for near duplicates. Legend: N images.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.face import FACE_SIZE, decode_image, size_problem
from bench.faces.sharpness import sharpness as sharpness
from bench.machine.device import cores_of_process
from bench.machine.processes import share_in_order
from bench.machine.progress import progress
from evaluate.audit.source import Source

NEAR_BITS = 2
"""Two hashes differ in an even number of bits, since each has 32 ones; 4 bits already join different people of LFW."""
NUM_FREQUENCIES = 8
_HASH_SIDE = 32
_IMAGES_PER_TASK = 64
_FIELDS = [
    ("is_broken", bool),
    ("digest", np.uint64),
    ("hash", np.uint64),
    ("height", np.int32),
    ("width", np.int32),
    ("brightness", np.float32),
    ("sharpness", np.float32),
    ("red_minus_blue", np.float32),
]


@dataclass(frozen=True)
class Scan:
    """Result of ``scan_images``."""

    table: NDArray[Any]
    """One row per image, shape (N,), with the fields of ``_FIELDS``; brightness and colour are in 0..255."""
    problems: list[str] = field(default_factory=list)
    """One line for each image that does not decode."""

    @property
    def decoded(self) -> NDArray[np.int64]:
        """Positions of the images that decode."""
        return np.flatnonzero(~self.table["is_broken"])


def scan_images(source: Source) -> Scan:
    """Read every image once: files in order, decoded in threads. The processes of a group share the images.

    All processes must call this, and all get the whole result.
    """
    table = np.zeros(len(source), dtype=_FIELDS)
    problems: list[str] = []
    with (
        ThreadPoolExecutor(max_workers=min(8, cores_of_process())) as pool,
        progress(desc="scan images", total=len(source)) as bar,
    ):
        tasks = range(0, len(source), _IMAGES_PER_TASK)
        for start, rows, batch_problems in share_in_order(tasks, partial(_scan_batches, source, pool)):
            table[start : start + len(rows)] = rows
            problems += batch_problems
            bar.update(len(rows))
    return Scan(table, problems)


def perceptual_hash(gray: NDArray[np.uint8]) -> int:
    """A 64-bit hash that changes little if an image is resized, re-encoded or made brighter (pHash).

    Filters of generated images use another hash (``generate.draw.qualify.filters.difference_hash``), which compares
    only images of one identity and must keep its bits for released benchmarks.

    Args:
        gray: Brightness of the image resized to 32 x 32, shape (32, 32).
    """
    low = _COSINES @ gray.astype(np.float32) @ _COSINES.T  # (8, 8), the lowest frequencies
    bits = (low > np.median(low.ravel()[1:])).ravel()  # the median leaves out the first, the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def low_frequencies(side: int) -> NDArray[np.float32]:
    """The first rows of the DCT-II matrix for ``side`` pixels, (8, side), not scaled, since only signs are used."""
    angles = (2 * np.arange(side) + 1) / (2 * side)
    return np.cos(np.pi * np.outer(np.arange(NUM_FREQUENCIES), angles)).astype(np.float32)


_COSINES = low_frequencies(_HASH_SIDE)


def _scan_batches(
    source: Source, pool: Executor, tasks: Sequence[int]
) -> Iterator[tuple[int, NDArray[Any], list[str]]]:
    """First position, table rows and problems of the batches that start at ``tasks``, in order.

    At most 16 batches are read ahead, so that memory does not grow with the dataset.
    """
    waiting = []
    for start in tasks:
        loaded = [_load(source, i) for i in range(start, min(start + _IMAGES_PER_TASK, len(source)))]
        waiting.append((start, pool.submit(_scan_batch, source, start, loaded)))
        if len(waiting) > 16:
            first, task = waiting.pop(0)
            yield first, *task.result()
    for first, task in waiting:
        yield first, *task.result()


def _load(source: Source, index: int) -> bytes | NDArray[np.uint8] | InputError:
    """Content of an image, or the error that reading it raised."""
    try:
        return source.load(index)
    except InputError as error:
        return error


def _scan_batch(source: Source, start: int, loaded: list) -> tuple[NDArray[Any], list[str]]:
    rows = np.zeros(len(loaded), dtype=_FIELDS)
    problems = []
    for row, content in enumerate(loaded):
        try:
            if isinstance(content, InputError):
                raise content
            pixels = decode_image(content, source.label(start + row)) if isinstance(content, bytes) else content
        except InputError as error:
            rows[row]["is_broken"] = True
            problems.append(str(error))
            continue
        rows[row] = (False, *_measure(pixels))
    return rows, problems


def _measure(pixels: NDArray[np.uint8]) -> tuple:
    """The fields of ``_FIELDS`` after ``is_broken``, of one image."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8)
    digest.update(str(pixels.shape).encode())
    gray = Image.fromarray(pixels).convert("L")
    small = np.asarray(gray.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX))
    values = np.asarray(gray, dtype=np.float32)
    small_colour = Image.fromarray(pixels).resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX)
    red, _, blue = np.asarray(small_colour).mean((0, 1))
    return (
        int.from_bytes(digest.digest(), "big"),
        perceptual_hash(small),
        *pixels.shape[:2],
        values.mean(),
        sharpness(values),
        red - blue,
    )


def aligned_images(scan: Scan) -> NDArray[np.int64]:
    """Positions of the images that decode and are 112 x 112 pixels."""
    table = scan.table[scan.decoded]
    return scan.decoded[(table["height"] == FACE_SIZE) & (table["width"] == FACE_SIZE)]


def usable_images(scan: Scan) -> NDArray[np.int64]:
    """Positions of the images that decode and can be aligned faces by their size, see ``size_problem``."""
    sizes = zip(scan.table["width"][scan.decoded], scan.table["height"][scan.decoded], strict=True)
    return scan.decoded[np.array([size_problem(width, height) is None for width, height in sizes], dtype=bool)]


def other_sizes(scan: Scan) -> dict[str, int]:
    """``HEIGHT x WIDTH`` -> number of images of that size, for sizes other than 112 x 112."""
    table = scan.table[scan.decoded]
    sizes, counts = np.unique(np.stack([table["height"], table["width"]], axis=1), axis=0, return_counts=True)
    return {
        f"{height} x {width}": int(count)
        for (height, width), count in zip(sizes, counts, strict=True)
        if (height, width) != (FACE_SIZE, FACE_SIZE)
    }
