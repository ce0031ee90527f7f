"""Pictures of five landmarks, the input of the pose network: drawn from points, or read from the user's files.

A picture is uint8 RGB, shape (112, 112, 3): black, with filled discs of radius 3 pixels at the landmarks of the aligned
face to draw. The eyes are pure red, the nose pure green, the corners of the mouth pure blue, and later ones lie on top.
The published examples are such pictures as JPEG.

Shapes: ``L`` pictures.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import InputError
from bench.faces.alignment.landmarks import read_landmarks
from bench.faces.face import FACE_SIZE, IMAGE_SUFFIXES, decode_image
from bench.files import read_array

RADIUS = 3
_RED, _GREEN, _BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
_COLOURS = (_RED, _RED, _GREEN, _BLUE, _BLUE)
_IS_BRIGHT = 128
_NEEDED = "eyes red, nose green, mouth blue, on black"


def draw_landmarks(points: NDArray[np.floating], name: str = "landmarks") -> NDArray[np.uint8]:
    """Picture of five landmarks, uint8 RGB, shape (112, 112, 3).

    Args:
        points: x, y in pixels of the aligned face, shape (5, 2): the eye on the left of the image, the other eye, nose,
            left and right corner of the mouth. Whole numbers are pixel centres.
        name: Source of the points, for the message of an error.

    Raises:
        InputError: If there are not five points, or one lies outside the image.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape != (5, 2):
        raise InputError(f"{name} have shape {points.shape}; give five points x, y, shape (5, 2)")
    is_inside = np.isfinite(points).all(axis=1) & (points >= -0.5).all(axis=1) & (points < FACE_SIZE - 0.5).all(axis=1)
    if not is_inside.all():
        x, y = points[int(np.argmin(is_inside))]
        raise InputError(
            f"{name}: the point ({x:g}, {y:g}) lies outside the image of {FACE_SIZE} x {FACE_SIZE}; give the landmarks "
            "of the aligned face"
        )
    rows, columns = np.mgrid[:FACE_SIZE, :FACE_SIZE]
    picture = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)
    for (x, y), colour in zip(np.rint(points), _COLOURS, strict=True):
        picture[(columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2] = colour
    return picture


def read_landmark_pictures(path: str | Path) -> NDArray[np.uint8]:
    """Landmark pictures from a file or a folder, uint8 RGB, shape (L, 112, 112, 3).

    Args:
        path: A picture; a folder of pictures, which are taken in the order of their names; a ``.npy`` of pictures,
            uint8 (L, 112, 112, 3), or of points, (L, 5, 2); or a text file of landmarks
                (``bench.faces.alignment.landmarks``).

    Raises:
        InputError: If the path is missing or holds no landmarks, pictures have another size or order of colours, or
            points lie outside the image.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise InputError(f"{path} holds no image file; give a folder of landmark pictures")
        return np.stack([_read_picture(file) for file in files])
    if not path.is_file():
        raise InputError(f"{path} does not exist; give landmark pictures, a .npy, or a text file of landmarks")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _read_picture(path)[None]
    if path.suffix == ".npy":
        return _from_array(read_array(path), path)
    return np.stack([draw_landmarks(entry.points, f"{path}: {name}") for name, entry in read_landmarks(path).items()])


def _read_picture(path: Path) -> NDArray[np.uint8]:
    picture = decode_image(path.read_bytes(), str(path))
    check_picture(picture, str(path))
    return picture


def _from_array(array: NDArray, path: Path) -> NDArray[np.uint8]:
    """Pictures from an array of pictures or of points."""
    if array.ndim == 3 and array.shape[1:] == (5, 2) and len(array) and array.dtype.kind in "fiu":
        return np.stack([draw_landmarks(points, f"{path}: row {row}") for row, points in enumerate(array)])
    if array.ndim != 4 or array.dtype != np.uint8 or not len(array):
        raise InputError(
            f"{path} has shape {array.shape} and type {array.dtype}; give points (L, 5, 2), or pictures uint8 "
            f"(L, {FACE_SIZE}, {FACE_SIZE}, 3)"
        )
    for row, picture in enumerate(array):
        check_picture(picture, f"{path}: row {row}")
    return array


def check_picture(picture: NDArray[np.uint8], name: str) -> None:
    """Refuse what is no landmark picture.

    JPEG makes colours bleed, so a pixel counts for the channel that is brightest in it. A picture whose red lies below
    its blue has the colours of OpenCV, blue first.

    Args:
        picture: uint8, shape (H, W, 3).
        name: Source of the picture, for the message.

    Raises:
        InputError: If the picture has another size, a channel without a disc, or red below blue.
    """
    if picture.shape != (FACE_SIZE, FACE_SIZE, 3):
        size = " x ".join(map(str, picture.shape[1::-1]))
        raise InputError(f"{name} is {size} pixels; give landmark pictures of {FACE_SIZE} x {FACE_SIZE} in RGB")
    brightest = picture.argmax(axis=2)
    is_bright = picture.max(axis=2) >= _IS_BRIGHT
    heights = []
    for channel, colour in enumerate(("red", "green", "blue")):
        rows = np.nonzero(is_bright & (brightest == channel))[0]
        if not len(rows):
            raise InputError(f"{name} has no {colour} disc; give landmark pictures: {_NEEDED}")
        heights.append(rows.mean())
    if heights[0] > heights[2]:
        raise InputError(f"{name} has its red discs below the blue ones, so its colours are BGR; give RGB: {_NEEDED}")
    if is_bright.mean() > 0.2:
        raise InputError(f"{name} is bright in {is_bright.mean():.0%} of its pixels; give landmark pictures: {_NEEDED}")
