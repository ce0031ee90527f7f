"""Where the faces of a dataset lie in their images: the column about which their mean is its own mirror image.

Faces aligned by ArcFace's template for 112 x 112 have it in the middle. Those cut by its older form for 96 x 112,
without the 8 pixels that belong to it, lie 8 pixels left: networks see other faces than in the test sets, and flipped
images are faces in a third place. ``python -m bench convert --shift-right`` mends that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE

MAX_SHIFT = 16
"""Pixels; an axis farther from the middle is not looked for."""
_NUM_FACES, _MIN_FACES = 1000, 50
_ROWS = slice(20, 100)
"""Forehead to mouth: above and below lie hair, hats and shoulders."""
_REACH = FACE_SIZE // 2 - MAX_SHIFT


@dataclass(frozen=True)
class MirrorAxis:
    """The axis of a mean face."""

    pixels_left: float
    """How far the axis lies left of the middle of the image, in half pixels; negative: right."""
    symmetry: float
    """Correlation of the mean face with its mirror image about the axis; 0.99 for 1,000 photographs."""
    num_faces: int


def mirror_axis(pixels: Callable[[int], NDArray[np.uint8]], positions: NDArray[np.int64]) -> MirrorAxis | None:
    """The axis of at most 1,000 faces, evenly spaced; None for fewer than 50, of which a mean says little.

    Args:
        pixels: Position -> face, uint8, shape (112, 112, 3).
        positions: Of the faces that can be taken, shape (N,).
    """
    if len(positions) < _MIN_FACES:
        return None
    places = np.unique(np.linspace(0, len(positions) - 1, min(_NUM_FACES, len(positions))).astype(int))
    total = np.zeros((FACE_SIZE, FACE_SIZE))
    for position in positions[places]:
        total += pixels(int(position)).mean(axis=2)
    left, symmetry = find_axis(total / len(places))
    return MirrorAxis(left, symmetry, len(places))


def find_axis(face: NDArray[np.floating]) -> tuple[float, float]:
    """The axis about which a face is most like its mirror image: pixels left of the middle, and the correlation.

    Args:
        face: Brightness, shape (112, 112).
    """
    if face.shape != (FACE_SIZE, FACE_SIZE):
        raise InputError(f"a mean face of shape {face.shape} has no axis; give {FACE_SIZE} x {FACE_SIZE}")
    middle, found = FACE_SIZE - 1, []
    for column_sum in range(middle - 2 * MAX_SHIFT, middle + 2 * MAX_SHIFT + 1):  # column and its mirror's, added
        first = (column_sum + 1) // 2 - _REACH
        part = face[_ROWS, first : column_sum - first + 1]
        found.append((_correlation(part, part[:, ::-1]), (middle - column_sum) / 2))
    symmetry, left = max(found, key=lambda one: (one[0], -abs(one[1])))
    return left, symmetry


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else 0.0
