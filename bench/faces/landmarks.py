"""Files of five-point landmarks: per line the name of an image and x1 y1 ... x5 y5, separated by spaces or tabs.

Two files of the field have an eleventh number. IJB's ``*_name_5pts_score.txt`` ends with the detector's score; RFW's
``*_lmk.txt`` has a label before the points. A last number of at most ``_MAX_SCORE`` is too small for a coordinate and
is read as a score.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import IMAGE_SUFFIXES

_MAX_SCORE = 1.5
_NEEDED = "needs 'image x1 y1 x2 y2 x3 y3 x4 y4 x5 y5'"


@dataclass(frozen=True)
class Landmarks:
    """Five points of one image."""

    points: NDArray[np.float64]
    """x, y in pixels, shape (5, 2)."""
    score: float
    """Confidence of the detector; 1 where the file has none."""


def read_landmarks(path: str | Path) -> dict[str, Landmarks]:
    """Landmarks by name of the image, as the file writes it and in its order.

    Raises:
        InputError: If the file is empty, a line holds anything else, or two lines name the same image.
    """
    landmarks: dict[str, Landmarks] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        name, *fields = line.split("\t") if "\t" in line else line.split()
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) not in (10, 11):
            raise InputError(f"{path} line {number} is {line[:80]!r}; {_NEEDED}")
        if name in landmarks:
            raise InputError(f"{path} line {number} names {name} again; keep one line per image")
        landmarks[name] = _parse(values)
    if not landmarks:
        raise InputError(f"{path} is empty; {_NEEDED} on each line")
    return landmarks


def _parse(values: list[float]) -> Landmarks:
    score = 1.0
    if len(values) == 11 and values[-1] <= _MAX_SCORE:
        score = values.pop()
    return Landmarks(np.reshape(values[-10:], (5, 2)), score)


def image_key(name: str) -> tuple[str, ...]:
    """Folder and name of an image without its suffix, by which files of different layouts can be matched."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return (*path.parts[-2:-1], stem)
