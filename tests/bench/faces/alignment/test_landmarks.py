"""Landmark files of IJB and RFW, and lines that are none."""

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.alignment.landmarks import Landmarks, image_key, match_landmarks, read_landmarks
from bench.faces.face import ARCFACE_TEMPLATE


def test_landmark_dialects(tmp_path):
    numbers = " ".join(map(str, ARCFACE_TEMPLATE.ravel()))
    file = tmp_path / "landmarks.txt"
    file.write_text(f"1.jpg {numbers} 0.998\n")  # IJB: the detector's score
    assert read_landmarks(file)["1.jpg"].score == 0.998
    file.write_text("/data/m.0x1/m.0x1_0001.jpg\t0\t" + numbers.replace(" ", "\t"))  # RFW: a label first
    ((name, known),) = read_landmarks(file).items()
    assert known.points.tolist() == ARCFACE_TEMPLATE.tolist()
    assert known.score == 1
    assert image_key(name) == image_key("m.0x1/m.0x1_0001") == ("m.0x1", "m.0x1_0001")
    for content, message in (
        ("1.jpg 3 4", "line 1 is '1.jpg 3 4'; needs"),
        ("", "is empty"),
        (f"a {numbers}\na {numbers}", "line 2 names a again"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            read_landmarks(file)


@pytest.mark.parametrize(
    ("names", "lines", "expected"),
    [
        (["1/f/01.jpg", "2/f/01.jpg"], ["2/f/01.jpg", "1/f/01.jpg"], [1, 0]),
        (["1/f/01", "2/f/01"], ["1/f/01.png", "2/f/01.png"], [0, 1]),  # whole paths, which differ in a suffix
        (["1/f/01.jpg", "2/f/01.jpg"], ["data/1/f/01.jpg", "data/2/f/01.jpg"], [None, None]),
        (["f/01.jpg", "f/02.jpg"], ["data/f/02.jpg", "data\\f\\01.png"], [1, 0]),
        (["f/01.jpg", "f/01.png"], ["f/01.jpg", "f/02.jpg"], [0, None]),
        (["f/01.jpg", "f/01.png"], ["f/01"], [None, None]),
    ],
)
def test_a_line_belongs_to_one_image(names, lines, expected):
    known = {name: Landmarks(ARCFACE_TEMPLATE, score=place) for place, name in enumerate(lines)}
    matched = [None if each is None else each.score for each in match_landmarks(names, known)]
    assert matched == expected


def line(name, points, before=(), after=()):
    return " ".join(map(str, [name, *before, *np.ravel(points), *after])) + "\n"


@pytest.fixture
def faces():
    """Landmarks of 20 faces, the last of them in full profile."""
    rng = np.random.default_rng(0)
    points = [
        ARCFACE_TEMPLATE * rng.uniform(1, 5) + rng.uniform(0, 200, 2) + rng.normal(0, 2, (5, 2)) for _ in range(19)
    ]
    return [*points, ARCFACE_TEMPLATE * (0.1, 3)]


@pytest.mark.parametrize("score", [0.9, 1.6, 99.8, 1000])
def test_scores_of_any_size_are_no_coordinates(tmp_path, faces, score):
    (tmp_path / "ends.txt").write_text("".join(line(i, face, after=[score]) for i, face in enumerate(faces)))
    (tmp_path / "begins.txt").write_text("".join(line(i, face, before=[score]) for i, face in enumerate(faces)))
    for name, expected in (("ends.txt", score), ("begins.txt", 1)):
        landmarks = read_landmarks(tmp_path / name)
        np.testing.assert_allclose([one.points for one in landmarks.values()], faces)
        assert {one.score for one in landmarks.values()} == {expected}


@pytest.mark.parametrize("order", [[1, 0, 2, 4, 3], [2, 0, 1, 3, 4]])
def test_points_in_another_order_are_refused(tmp_path, faces, order):
    (tmp_path / "lmk.txt").write_text("".join(line(i, face[order]) for i, face in enumerate(faces)))
    with pytest.raises(InputError, match=r"the points of most lines do not look like a face .*: the eye on the left"):
        read_landmarks(tmp_path / "lmk.txt")


def test_all_x_before_all_y_is_refused(tmp_path, faces):
    (tmp_path / "lmk.txt").write_text("".join(line(i, face.T) for i, face in enumerate(faces)))
    with pytest.raises(InputError, match="do not look like a face"):
        read_landmarks(tmp_path / "lmk.txt")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[50, 50]] * 5, "the five landmarks of bad.jpg are one point; correct or remove its line"),
        ([[50, 50]] * 4 + [[50, float("nan")]], "line 2: landmarks of bad.jpg are no positions in an image"),
        ([[50, 50]] * 4 + [[50, float("inf")]], "line 2: landmarks of bad.jpg are no positions in an image"),
        ([[50, 50]] * 4 + [[50, 1e300]], "line 2: landmarks of bad.jpg are no positions in an image"),
    ],
)
def test_points_that_align_nothing_name_their_image(tmp_path, points, message):
    (tmp_path / "lmk.txt").write_text(line("good.jpg", ARCFACE_TEMPLATE) + line("bad.jpg", points))
    with pytest.raises(InputError, match=message):
        read_landmarks(tmp_path / "lmk.txt")
