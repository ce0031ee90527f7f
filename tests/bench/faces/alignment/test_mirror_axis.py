"""The symmetry axis of a mean face: exact to half a pixel; noise and blank images have no symmetry."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.alignment.mirror_axis import MAX_SHIFT, find_axis, mirror_axis
from generate.render.face import render_face
from generate.render.people import draw_factors


def symmetric_face(pixels_left):
    """A smooth image that is symmetric about an axis ``pixels_left`` of the centre, and not from top to bottom."""
    rows, columns = np.mgrid[:112, :112]
    distance = np.abs(columns - (55.5 - pixels_left))
    return np.cos(distance / 9 + rows / 17) * 60 + 128


@pytest.mark.parametrize("left", [-MAX_SHIFT, -7.5, 0, 0.5, 8, MAX_SHIFT])
def test_the_axis_is_found_to_half_a_pixel(left):
    pixels_left, symmetry = find_axis(symmetric_face(left))
    assert pixels_left == left
    assert symmetry == pytest.approx(1)


def test_rendered_faces_are_centred_and_shifted_ones_are_not():
    faces = np.stack([render_face(i, 0, draw_factors(i, 0)) for i in range(60)])
    axis = mirror_axis(lambda i: faces[i], np.arange(60))
    assert abs(axis.pixels_left) <= 1 and axis.symmetry > 0.5 and axis.num_faces == 60
    shifted = mirror_axis(lambda i: np.roll(faces[i], -8, axis=1), np.arange(60))
    assert shifted.pixels_left == axis.pixels_left + 8


def test_noise_and_a_blank_image_have_no_symmetry():
    noise = np.random.default_rng(0).uniform(0, 255, (112, 112))
    assert find_axis(noise)[1] < 0.2
    assert find_axis(np.zeros((112, 112))) == (0, 0)


def test_too_few_faces_have_no_axis_and_another_size_is_refused():
    assert mirror_axis(lambda i: np.zeros((112, 112, 3), np.uint8), np.arange(49)) is None
    with pytest.raises(InputError, match=r"shape \(96, 112\); give brightness of shape \(112, 112\)"):
        find_axis(np.zeros((96, 112)))
