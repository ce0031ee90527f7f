"""Alignment is the least-squares similarity, and cuts out what a plain bilinear loop cuts out."""

import numpy as np
import pytest
from PIL import Image

from bench.errors import InputError
from bench.faces.alignment.align import align, similarity_transform
from bench.faces.face import ARCFACE_TEMPLATE


def least_squares(points, target):
    """The same transform as a linear system: x' = a x - b y + c, y' = b x + a y + d."""
    rows, values = [], []
    for (x, y), (to_x, to_y) in zip(points, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [to_x, to_y]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


@pytest.mark.parametrize("seed", range(20))
def test_transform_equals_least_squares(seed):
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.6, 0.6), rng.uniform(0.3, 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = scale * ARCFACE_TEMPLATE @ turn.T + rng.uniform(-50, 300, 2) + rng.normal(0, 4, (5, 2))
    np.testing.assert_allclose(similarity_transform(points), least_squares(points, ARCFACE_TEMPLATE), atol=1e-9)


def test_an_exact_similarity_is_recovered_and_a_mirror_is_not_used():
    points = 2.5 * ARCFACE_TEMPLATE + (7, -3)
    np.testing.assert_allclose(similarity_transform(points), [[0.4, 0, -2.8], [0, 0.4, 1.2]], atol=1e-9)
    mirrored = ARCFACE_TEMPLATE * (-1, 1) + (112, 0)
    assert np.linalg.det(similarity_transform(mirrored)[:, :2]) > 0


def slow_warp(image, matrix):
    """Bilinear, pixel by pixel, where all four neighbours are inside; elsewhere NaN."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    out = np.full((112, 112, 3), np.nan)
    for y in range(112):
        for x in range(112):
            u, v, _ = inverse @ (x, y, 1)
            left, top = int(np.floor(u)), int(np.floor(v))
            if 0 <= left < image.shape[1] - 1 and 0 <= top < image.shape[0] - 1:
                p, q = u - left, v - top
                square = image[top : top + 2, left : left + 2].astype(float)
                out[y, x] = (1 - q) * ((1 - p) * square[0, 0] + p * square[0, 1]) + q * (
                    (1 - p) * square[1, 0] + p * square[1, 1]
                )
    return out


def test_align_equals_the_slow_loop():
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (12, 14, 3), dtype=np.uint8))
    image = np.asarray(small.resize((280, 240), Image.Resampling.BICUBIC))
    angle = 0.2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = 1.7 * (ARCFACE_TEMPLATE - 56) @ turn.T + (150, 110) + rng.normal(0, 1, (5, 2))
    expected = slow_warp(image, similarity_transform(points))
    found = align(image, points)
    assert (found.shape, found.dtype) == ((112, 112, 3), np.uint8)
    inside = ~np.isnan(expected)
    assert inside.mean() > 0.9
    assert np.abs(found[inside] - expected[inside]).max() <= 1.01


def test_an_aligned_face_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    assert np.abs(align(image, ARCFACE_TEMPLATE).astype(int) - image).max() <= 1  # Pillow cuts off where others round


def test_landmarks_that_are_none():
    with pytest.raises(InputError, match="all coincide; correct the landmarks"):
        similarity_transform(np.ones((5, 2)))
    with pytest.raises(InputError, match="are not 5 finite points"):
        similarity_transform(np.full((5, 2), np.nan))
