"""Files of five-point landmarks: per line the name of an image and x1 y1 ... x5 y5, separated by spaces or tabs.

Two files of the field have an eleventh number. IJB's ``*_name_5pts_score.txt`` ends with the detector's score; RFW's
``*_lmk.txt`` has a label before the points. Lines are read both ways, and the way counts in which the points of most
lines look more like a face: read the wrong way, every x becomes a y. Legend: N lines.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE, IMAGE_SUFFIXES
from bench.files import read_text

_MAX_MISFIT = 0.6  # a full profile has 0.4; shuffled, mirrored or shifted points have 0.75 and above
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
        InputError: If the file is empty, a line holds anything else, two lines name the same image, points are not
            finite or all equal, or the points of most lines do not look like a face.
    """
    rows: dict[str, list[float]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        line = line.rstrip()
        name, *fields = line.split("\t") if "\t" in line else line.split()
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) not in (10, 11):
            raise InputError(f"{path} line {number} is {line[:80]!r}; {_NEEDED}")
        if name in rows:
            raise InputError(f"{path} line {number} names {name[:80]} again; keep one line per image")
        if not np.isfinite(values).all() or max(map(abs, values)) > 1e6:
            raise InputError(
                f"{path} line {number}: landmarks of {name[:80]} are no positions in an image; correct them"
            )
        rows[name] = values
    if not rows:
        raise InputError(f"{path} is empty; {_NEEDED} on each line")
    return _parse(rows, path)


def _parse(rows: dict[str, list[float]], path: str | Path) -> dict[str, Landmarks]:
    """Split 11 numbers into points and score, or label and points: whichever looks more like faces over the file."""
    eleven = np.array([values for values in rows.values() if len(values) == 11]).reshape(-1, 11)
    ends_with_score = not len(eleven) or np.median(_misfit(eleven[:, :10])) <= np.median(_misfit(eleven[:, 1:]))
    points = np.array([values[:10] if ends_with_score else values[-10:] for values in rows.values()])
    for name, values in zip(rows, points, strict=True):
        if np.ptp(values[0::2]) + np.ptp(values[1::2]) < 1e-6:
            raise InputError(f"{path}: the five landmarks of {name[:80]} are one point; correct or remove its line")
    misfit = float(np.median(_misfit(points)))
    xs_before_ys = float(np.median(_misfit(points.reshape(-1, 2, 5).transpose(0, 2, 1).reshape(-1, 10))))
    if not misfit <= _MAX_MISFIT or xs_before_ys < misfit / 2:
        raise InputError(
            f"{path}: the points of most lines do not look like a face (misfit {misfit:.2f}); {_NEEDED}: "
            "the eye on the left of the image, the other eye, nose, left and right corner of the mouth"
        )
    return {
        name: Landmarks(five.reshape(5, 2), values[10] if len(values) == 11 and ends_with_score else 1.0)
        for (name, values), five in zip(rows.items(), points, strict=True)
    }


def _misfit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Misfit in [0, 1] of five points to the ArcFace template after the best similarity transform, shape (N,).

    0 is a perfect fit. The misfit is the share of the template's variance that the transformed points do not explain.

    Args:
        points: x1, y1, ..., x5, y5, shape (N, 10).
    """
    face = points[:, 0::2] + 1j * points[:, 1::2]  # rotation with scaling is a product of complex numbers
    face = face - face.mean(axis=1, keepdims=True)
    template = ARCFACE_TEMPLATE @ (1, 1j)
    template = template - template.mean()
    variances = (np.abs(face) ** 2).sum(axis=1) * (np.abs(template) ** 2).sum()
    return 1 - np.abs(face.conj() @ template) ** 2 / np.maximum(variances, 1e-12)


def match_landmarks(names: Sequence[str], known: Mapping[str, Landmarks]) -> list[Landmarks | None]:
    """Landmarks of each image; None for an image that has no line of its own.

    A line belongs to the image of the same name. Other images take the line of the same path without suffix, else of
    the same folder and name without suffix, but only where one image and one line have these.

    Args:
        names: Paths of different images, below one folder.
        known: Lines of a file, as of ``read_landmarks``.
    """
    matched = [known.get(name) for name in names]
    keys: tuple[Callable[[str], tuple[str, ...]], ...] = (path_key, image_key)
    for key in keys:
        lines: dict[tuple[str, ...], list[Landmarks]] = {}
        for name, landmarks in known.items():
            lines.setdefault(key(name), []).append(landmarks)
        num_images = Counter(map(key, names))
        for row, name in enumerate(names):
            own = lines.get(key(name), [])
            if matched[row] is None and len(own) == num_images[key(name)] == 1:
                matched[row] = own[0]
    return matched


def path_key(name: str) -> tuple[str, ...]:
    """Folders and name of an image, without its suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return (*path.parts[:-1], stem)


def image_key(name: str) -> tuple[str, ...]:
    """Last folder and name of an image without its suffix, by which files of different layouts can be matched."""
    return path_key(name)[-2:]
