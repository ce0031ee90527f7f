"""Five landmarks -> an aligned 112 x 112 face, as the field's recognition networks expect it.

The similarity transform (rotation, one scale, shift) that is least-squares closest between the landmarks and the
ArcFace template: S. Umeyama, PAMI 13(4), 1991. Pixel centres lie at whole numbers, as in OpenCV.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.errors import InputError
from bench.faces.face import FACE_SIZE

TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""ArcFace: x, y of the eye on the left of the picture, the other eye, nose, both corners of the mouth, shape (5, 2)."""


def similarity_transform(points: NDArray[np.floating], target: NDArray[np.floating] = TEMPLATE) -> NDArray[np.float64]:
    """The matrix (2, 3) of the similarity that takes points closest to ``target``, both of shape (num_points, 2).

    Raises:
        InputError: If a point is not finite, or all points are one.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape != target.shape or not np.isfinite(points).all():
        raise InputError(f"landmarks {points.ravel().tolist()} are not {len(target)} finite points; mend the landmarks")
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    centred, target_centred = points - mean, target - target_mean
    variance = (centred**2).sum()
    if variance < 1e-9:
        raise InputError(f"landmarks {points.ravel().tolist()} are one point; mend the landmarks")
    left, singular, right = np.linalg.svd(target_centred.T @ centred)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0])  # a rotation, never a mirror
    rotation = left @ np.diag(signs) @ right
    scale = (singular * signs).sum() / variance
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ mean])


def align(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The face cut out on the ArcFace template, uint8 (112, 112, 3); black beyond the image's edges.

    Args:
        image: uint8, shape (H, W, 3), RGB.
        landmarks: x, y in pixels of the five points in the order of ``TEMPLATE``, shape (5, 2).

    Raises:
        InputError: If the landmarks are not finite, or are one point.
    """
    matrix = similarity_transform(landmarks)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    # Pillow puts pixel centres at halves: shift there and back.
    inverse[:, 2] += 0.5 - inverse[:, :2] @ (0.5, 0.5)
    size = (FACE_SIZE, FACE_SIZE)
    coefficients = tuple(inverse.ravel().tolist())
    turned = Image.fromarray(image).transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(turned)
