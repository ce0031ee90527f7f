"""One look at every image: does it decode, of which size, how bright and sharp, and what it is a duplicate of.

Exact duplicates have equal pixels. Near duplicates have perceptual hashes (pHash: signs of the low frequencies of a
cosine transform, 64 bits) at most ``NEAR_BITS`` bits apart. Legend: N images.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.lmdb_file import FACE_SIZE, decode_image
from bench.machine.progress import progress
from evaluate.audit.source import Source

NEAR_BITS = 2
"""The next step, 4 (two hashes of 32 ones each differ in an even number), already joins different people of LFW."""
_HASH_SIDE, _FREQUENCIES = 32, 8
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
    """What one look at every image gives."""

    table: NDArray[Any]
    """One row per image, shape (N,), with the fields of ``_FIELDS``; brightness and colour in 0..255."""
    problems: list[str] = field(default_factory=list)
    """One line per broken image."""

    @property
    def good(self) -> NDArray[np.int64]:
        """Positions of the images that decode."""
        return np.flatnonzero(~self.table["is_broken"])


def scan_images(source: Source) -> Scan:
    """Look at every image once; files are read in order and decoded in threads."""
    table = np.zeros(len(source), dtype=_FIELDS)
    problems: list[str] = []
    with (
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
        progress(desc="look at images", total=len(source)) as bar,
    ):
        for start, rows, wrong in _scanned(source, pool):
            table[start : start + len(rows)] = rows
            problems += wrong
            bar.update(len(rows))
    return Scan(table, problems)


def perceptual_hash(gray: NDArray[np.uint8]) -> int:
    """64 bits that change little when an image is scaled, re-encoded or made brighter.

    Filters of generated images use another hash (``generate.draw.filters.difference_hash``), which compares only images
    of one identity and must keep its bits for released benchmarks.

    Args:
        gray: Brightness, shape (32, 32).
    """
    low = _COSINES @ gray.astype(np.float32) @ _COSINES.T  # (8, 8), the lowest frequencies
    bits = (low > np.median(low.ravel()[1:])).ravel()  # the first is the mean brightness: no part of the median
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sharpness(gray: NDArray[np.floating]) -> float:
    """Variance of the Laplacian of brightness in 0..255, shape (H, W): low where an image is blurred."""
    centre = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * centre
    return float(laplacian.var()) if laplacian.size else 0.0


def _cosines() -> NDArray[np.float32]:
    """The first rows of the DCT-II matrix, shape (8, 32); their scale does not matter to signs."""
    places = (2 * np.arange(_HASH_SIDE) + 1) / (2 * _HASH_SIDE)
    return np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), places)).astype(np.float32)


_COSINES = _cosines()


def _scanned(source: Source, pool: Executor) -> Iterator[tuple[int, NDArray[Any], list[str]]]:
    """Rows in order; a few tasks ahead of the reader, so that memory does not grow with the dataset."""
    tasks = range(0, len(source), _IMAGES_PER_TASK)
    waiting = []
    for start in tasks:
        loaded = [_load(source, i) for i in range(start, min(start + _IMAGES_PER_TASK, len(source)))]
        waiting.append((start, pool.submit(_look_at, source, start, loaded)))
        if len(waiting) > 16:
            first, task = waiting.pop(0)
            yield first, *task.result()
    for first, task in waiting:
        yield first, *task.result()


def _load(source: Source, index: int) -> bytes | NDArray[np.uint8] | InputError:
    try:
        return source.load(index)
    except InputError as error:
        return error


def _look_at(source: Source, start: int, loaded: list) -> tuple[NDArray[Any], list[str]]:
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
    """The fields of one image after ``is_broken``."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8)
    digest.update(str(pixels.shape).encode())
    gray = Image.fromarray(pixels).convert("L")
    small = np.asarray(gray.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX))
    values = np.asarray(gray, dtype=np.float32)
    red, _, blue = np.asarray(Image.fromarray(pixels).resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX)).mean(
        (0, 1)
    )
    return (
        int.from_bytes(digest.digest(), "big"),
        perceptual_hash(small),
        *pixels.shape[:2],
        values.mean(),
        sharpness(values),
        red - blue,
    )


def aligned_images(scan: Scan) -> NDArray[np.int64]:
    """Positions of the images that are 112 x 112."""
    good = scan.table[scan.good]
    return scan.good[(good["height"] == FACE_SIZE) & (good["width"] == FACE_SIZE)]


def other_sizes(scan: Scan) -> dict[str, int]:
    """Height x width -> number of images that decode but are no 112 x 112."""
    good = scan.table[scan.good]
    sizes, counts = np.unique(np.stack([good["height"], good["width"]], axis=1), axis=0, return_counts=True)
    return {
        f"{height} x {width}": int(count)
        for (height, width), count in zip(sizes, counts, strict=True)
        if (height, width) != (FACE_SIZE, FACE_SIZE)
    }
