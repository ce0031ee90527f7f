"""Five landmarks -> an aligned 112 x 112 face, as the field's recognition networks expect it.

The face is moved by a similarity transform (rotation, uniform scale, shift). The transform is the least-squares fit of
the landmarks to the ArcFace template (S. Umeyama, PAMI 13(4), 1991). Pixel centres lie at whole numbers, as in OpenCV.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE, FACE_SIZE


def similarity_transform(
    points: NDArray[np.floating], target: NDArray[np.floating] = ARCFACE_TEMPLATE
) -> NDArray[np.float64]:
    """Least-squares similarity transform of ``points`` to ``target``, as a matrix of shape (2, 3).

    Args:
        points: x, y of each point, shape (num_points, 2).
        target: Where the points shall lie, in the same order, shape (num_points, 2).

    Raises:
        InputError: If the shapes differ, a point is not finite, or all points coincide.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape != target.shape or not np.isfinite(points).all():
        raise InputError(
            f"landmarks {points.ravel().tolist()} are not {len(target)} finite points; correct the landmarks"
        )
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    centred, target_centred = points - mean, target - target_mean
    variance = (centred**2).sum()
    if variance < 1e-9:
        raise InputError(f"landmarks {points.ravel().tolist()} all coincide; correct the landmarks")
    left, singular_values, right = np.linalg.svd(target_centred.T @ centred)
    # The sign keeps the transform a rotation: a mirrored face must not be flipped.
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0])
    rotation = left @ np.diag(signs) @ right
    scale = (singular_values * signs).sum() / variance
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ mean])


def align(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Aligned face, uint8, shape (112, 112, 3), RGB; areas outside ``image`` are black.

    Args:
        image: uint8, shape (H, W, 3), RGB.
        landmarks: x, y in pixels of the five points, in the order of ``ARCFACE_TEMPLATE``, shape (5, 2).

    Raises:
        InputError: If a landmark is not finite, or all landmarks coincide.
    """
    matrix = similarity_transform(landmarks)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    # Pillow's pixel centres lie at halves: shift by a half before and after.
    inverse[:, 2] += 0.5 - inverse[:, :2] @ (0.5, 0.5)
    size = (FACE_SIZE, FACE_SIZE)
    coefficients = tuple(inverse.ravel().tolist())
    face = Image.fromarray(image).transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(face)
