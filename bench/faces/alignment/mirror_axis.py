"""Measures how far the faces of a dataset lie off the image centre, from the symmetry axis of their mean.

In: aligned faces, 112 x 112. Out: a ``MirrorAxis``.

ArcFace's template for 112 x 112 images centres the face horizontally. Its older template is for 96 x 112 images; with
images of 112 x 112, 8 pixels have to be added to each x coordinate. Datasets that were aligned without these 8 pixels
have their faces 8 pixels left of the centre. Networks then see faces at another position than in the test sets, and a
horizontal flip moves a face by 16 pixels. ``python -m bench convert --shift-right 8`` corrects such a dataset.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.face import FACE_SIZE

MAX_SHIFT = 16
"""Largest distance between axis and image centre that is searched, in pixels."""
_NUM_FACES = 1000
_MIN_FACES = 50
"""A mean of fewer faces is too uneven to measure its axis."""
_ROWS = slice(20, 100)
"""Rows from forehead to mouth. Hair, hats and shoulders above and below are not symmetric."""
_HALF_WIDTH = FACE_SIZE // 2 - MAX_SHIFT
"""Columns compared on either side of the axis: as many as exist about every axis that is searched."""


@dataclass(frozen=True)
class MirrorAxis:
    """The symmetry axis of the mean face of a dataset."""

    pixels_left: float
    """Distance from the image centre to the axis, in steps of half a pixel; negative if the axis is to the right."""
    symmetry: float
    """Correlation of the mean face with its mirror image about the axis; 0.99 for 1,000 photographs."""
    num_faces: int
    """Faces in the mean."""


def mirror_axis(pixels: Callable[[int], NDArray[np.uint8]], positions: NDArray[np.int64]) -> MirrorAxis | None:
    """Symmetry axis of the mean of up to 1,000 faces; None for fewer than 50 faces.

    Args:
        pixels: Function from a position to its face, uint8, shape (112, 112, 3).
        positions: Positions to choose from, shape (N,). Above 1,000, evenly spaced ones are taken.
    """
    if len(positions) < _MIN_FACES:
        return None
    evenly_spaced = np.unique(np.linspace(0, len(positions) - 1, min(_NUM_FACES, len(positions))).astype(int))
    total = np.zeros((FACE_SIZE, FACE_SIZE))
    for position in positions[evenly_spaced]:
        total += pixels(int(position)).mean(axis=2)
    pixels_left, symmetry = find_axis(total / len(evenly_spaced))
    return MirrorAxis(pixels_left, symmetry, len(evenly_spaced))


def find_axis(face: NDArray[np.floating]) -> tuple[float, float]:
    """The vertical axis about which a face is most similar to its mirror image.

    Args:
        face: Brightness, shape (112, 112).

    Returns:
        Pixels from the image centre to the axis, positive to the left, and the correlation of the face with its
        mirror image. Of equally symmetric axes, the one nearest to the centre.

    Raises:
        InputError: If the face has another shape.
    """
    if face.shape != (FACE_SIZE, FACE_SIZE):
        raise InputError(f"mean face has shape {face.shape}; give brightness of shape ({FACE_SIZE}, {FACE_SIZE})")
    centre_sum = FACE_SIZE - 1
    candidates = []
    # Two columns mirror each other about an axis if they add up to its column_sum, which is twice its position
    for column_sum in range(centre_sum - 2 * MAX_SHIFT, centre_sum + 2 * MAX_SHIFT + 1):
        first = (column_sum + 1) // 2 - _HALF_WIDTH
        part = face[_ROWS, first : column_sum - first + 1]
        symmetry = _correlation(part, part[:, ::-1])
        candidates.append((symmetry, (centre_sum - column_sum) / 2))
    symmetry, pixels_left = max(candidates, key=lambda candidate: (candidate[0], -abs(candidate[1])))
    return pixels_left, symmetry


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Pearson correlation of two images; 0 if one of them is constant."""
    first = first - first.mean()
    second = second - second.mean()
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else 0.0
