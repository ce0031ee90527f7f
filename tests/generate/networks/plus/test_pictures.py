"""Landmark pictures: drawn as the published ones are, read from every kind of file, and refused with a reason."""

import numpy as np
import pytest
from PIL import Image

from bench.errors import InputError
from bench.faces.face import ARCFACE_TEMPLATE, encode_jpeg
from generate.networks.plus.pictures import check_picture, draw_landmarks, read_landmark_pictures

POINTS = ARCFACE_TEMPLATE + 0.2
PROFILE = np.array([[50, 47], [56, 47], [38, 64], [52, 82], [54, 83]], float)


def draw_slowly(points):
    """Pixel by pixel; the last landmark that reaches a pixel colours it."""
    picture = np.zeros((112, 112, 3), np.uint8)
    for (x, y), channel in zip(points, (0, 0, 1, 2, 2), strict=True):
        for row in range(112):
            for column in range(112):
                if (column - round(x)) ** 2 + (row - round(y)) ** 2 <= 9:
                    picture[row, column] = 0
                    picture[row, column, channel] = 255
    return picture


@pytest.mark.parametrize("points", [POINTS, PROFILE, [[0, 0], [111, 0], [55, 55], [0, 111], [111.4, 111]]])
def test_a_picture_is_discs_of_radius_three(points):
    assert np.array_equal(draw_landmarks(np.array(points)), draw_slowly(points))


def test_a_disc_has_29_pixels_of_one_pure_colour():
    picture = draw_landmarks(POINTS)
    assert [int((picture == colour).all(2).sum()) for colour in ([255, 0, 0], [0, 255, 0], [0, 0, 255])] == [58, 29, 58]


@pytest.mark.parametrize(("x", "y"), [(-1, 50), (50, 112), (111.6, 3), (np.nan, 3), (np.inf, 3)])
def test_points_outside_the_image_are_refused(x, y):
    points = POINTS.copy()
    points[2] = x, y
    with pytest.raises(InputError, match=r"landmarks: the point \(.*\) lies outside the image of 112 x 112; give"):
        draw_landmarks(points)
    with pytest.raises(InputError, match=r"have shape \(4, 2\); give five points"):
        draw_landmarks(points[:4])


def test_pictures_are_read_from_files_folders_arrays_and_points(tmp_path):
    expected = np.stack([draw_landmarks(POINTS), draw_landmarks(PROFILE)])
    (tmp_path / "folder").mkdir()
    for name, picture in zip(("a.png", "b.png"), expected, strict=True):
        Image.fromarray(picture).save(tmp_path / "folder" / name)
    np.save(tmp_path / "pictures.npy", expected)
    np.save(tmp_path / "points.npy", np.stack([POINTS, PROFILE]))
    lines = [" ".join([name, *map(str, points.ravel())]) for name, points in (("a", POINTS), ("b", PROFILE))]
    (tmp_path / "points.txt").write_text("\n".join(lines))
    for name in ("folder", "pictures.npy", "points.npy", "points.txt"):
        assert np.array_equal(read_landmark_pictures(tmp_path / name), expected), name
    assert np.array_equal(read_landmark_pictures(tmp_path / "folder" / "b.png"), expected[1:])


def test_jpeg_whose_colours_bleed_is_read(tmp_path):
    Image.fromarray(draw_landmarks(PROFILE)).save(tmp_path / "published.jpg", quality=75)  # colours at half resolution
    (picture,) = read_landmark_pictures(tmp_path / "published.jpg")
    assert not np.array_equal(picture, draw_landmarks(PROFILE))
    check_picture(picture, "picture")


def test_other_sizes_and_orders_of_colours_are_refused(tmp_path):
    picture = draw_landmarks(PROFILE)
    with pytest.raises(InputError, match="x is 96 x 112 pixels; give landmark pictures of 112 x 112 in RGB"):
        check_picture(picture[:, :96], "x")
    with pytest.raises(InputError, match="x has its red discs below the blue ones, so its colours are BGR; give RGB"):
        check_picture(picture[..., ::-1], "x")
    (tmp_path / "bgr.jpg").write_bytes(encode_jpeg(np.ascontiguousarray(picture[..., ::-1])))
    with pytest.raises(InputError, match=r"bgr\.jpg has its red discs below"):
        read_landmark_pictures(tmp_path / "bgr.jpg")
    with pytest.raises(InputError, match="x has no green disc; give landmark pictures: eyes red"):
        check_picture(np.where(picture[..., 1:2] == 255, 0, picture).astype(np.uint8), "x")
    photograph = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    with pytest.raises(InputError, match=r"x is bright in \d\d% of its pixels|x has its red"):
        check_picture(photograph, "x")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 112, 112, 3), np.float32), r"has shape \(2, 112, 112, 3\) and type float32; give points"),
        (np.zeros((0, 5, 2)), r"has shape \(0, 5, 2\)"),
        (np.zeros((2, 3, 112, 112), np.uint8), r"row 0 is 112 x 3 pixels|row 0 is"),
        (np.full((2, 5, 2), 200.0), r"row 0: the point \(200, 200\) lies outside the image"),
    ],
)
def test_arrays_that_are_neither_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message):
        read_landmark_pictures(tmp_path / "a.npy")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist; give landmark pictures"):
        read_landmark_pictures(tmp_path / "none.png")
    with pytest.raises(InputError, match="holds no image file"):
        read_landmark_pictures(tmp_path)
