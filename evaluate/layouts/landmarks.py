"""Files of five-point landmarks: one image a line, its name and ten numbers x1 y1 ... x5 y5, by spaces or tabs.

Two files of the field have an eleventh number: IJB's ``*_name_5pts_score.txt`` the detector's score at the end, RFW's
``*_lmk.txt`` a label before the points. A last number that cannot be a coordinate (at most ``_MAX_SCORE``) is a score.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES

_MAX_SCORE = 1.5


@dataclass(frozen=True)
class Landmarks:
    """Five points of one image."""

    points: NDArray[np.float64]
    """x, y in pixels, shape (5, 2)."""
    score: float
    """The detector's confidence; 1 where the file has none."""


def read_landmarks(path: str | Path) -> dict[str, Landmarks]:
    """Landmarks by the name that the file gives each image, in the order of the file.

    Raises:
        InputError: If a line holds anything else, or two lines name one image.
    """
    found: dict[str, Landmarks] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = line.split("\t") if "\t" in line else line.split()
        try:
            values = [float(value) for value in rest]
        except ValueError:
            values = []
        if len(values) not in (10, 11):
            raise InputError(f"{path} line {number} is {line[:80]!r}; needs 'image x1 y1 x2 y2 x3 y3 x4 y4 x5 y5'")
        score = 1.0
        if len(values) == 11:
            has_score = values[-1] <= _MAX_SCORE
            score = values[-1] if has_score else 1.0
            values = values[:10] if has_score else values[1:]
        if name in found:
            raise InputError(f"{path} line {number} names {name} again; keep one line per image")
        found[name] = Landmarks(np.reshape(values, (5, 2)), score)
    if not found:
        raise InputError(f"{path} is empty; needs lines 'image x1 y1 x2 y2 x3 y3 x4 y4 x5 y5'")
    return found


def image_key(name: str) -> tuple[str, ...]:
    """What an image is called in any file: its name without an image suffix, and the folder that it lies in."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return (*path.parts[-2:-1], stem)
