"""Turned faces against rendered heads, of which every view is known."""

import numpy as np
import pytest
from rendered_faces import face_difference, rendered_at_yaw

from generate.render.turned import MAX_YAW_DEGREES, turn_face


@pytest.fixture(scope="module")
def identities():
    return range(1, 6)


def test_a_turned_view_is_nearer_to_the_truth_than_the_photograph(identities):
    """The views agree only roughly: the rendered heads differ in shape from the mean head that is turned."""
    gains = []
    for identity in identities:
        face, truth = rendered_at_yaw(identity, 0.0), rendered_at_yaw(identity, 40.0)
        gains.append(face_difference(face, truth) - face_difference(turn_face(face, 0.0, 40.0), truth))
    assert np.mean(gains) > 5 and min(gains) > 0


@pytest.mark.parametrize("yaw", [0.0, 20.0])
def test_a_face_turned_to_its_own_yaw_keeps_its_pixels(identities, yaw):
    faces = [rendered_at_yaw(identity, yaw) for identity in identities]
    assert np.mean([face_difference(turn_face(face, yaw, yaw), face) for face in faces]) < 4


def test_left_is_the_mirror_image_of_right():
    face = rendered_at_yaw(3, 0.0)
    mirrored = np.ascontiguousarray(face[:, ::-1])
    assert face_difference(turn_face(mirrored, -10.0, -50.0)[:, ::-1], turn_face(face, 10.0, 50.0)) < 1.5


def test_the_yaw_of_a_photograph_is_cut_at_the_largest():
    face = rendered_at_yaw(2, 30.0)
    assert np.array_equal(turn_face(face, 80.0, 60.0), turn_face(face, MAX_YAW_DEGREES, 60.0))
    assert not np.array_equal(turn_face(face, 20.0, 60.0), turn_face(face, MAX_YAW_DEGREES, 60.0))
