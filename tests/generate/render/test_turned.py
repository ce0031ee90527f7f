"""Turned views of photographs: geometry against rendered heads, whose truth is known, and the file that is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter, open_faces
from generate.networks.yaw import YawNetwork, save_yaw_network
from generate.render.face import render_face
from generate.render.people import draw_factors
from generate.render.turned import measure_yaw, turn_face, write_with_views

pytestmark = pytest.mark.usefixtures("one_thread")
FACE = (slice(44, 100), slice(28, 84))


def rendered(identity, yaw):
    factors = replace(
        draw_factors(identity, 0), yaw_degrees=yaw, pitch_degrees=0.0, roll_degrees=0.0, landmark_jitter=0.0,
        smile=0.0, mouth_open=0.0, light_strength=0.0, ambient=1.0, glasses="none", blur_pixels=0.5, noise=0.0,
    )  # fmt: skip
    return render_face(identity, 0, factors)


def difference(first, second):
    return np.abs(first[FACE].astype(float) - second[FACE]).mean()


@pytest.fixture(scope="module")
def identities():
    return range(1, 6)


def test_a_turned_view_is_nearer_to_the_truth_than_the_photograph(identities):
    """Of rendered heads the turned face is known; shapes differ from the mean head, so that it is only approached."""
    gains = []
    for identity in identities:
        face, truth = rendered(identity, 0.0), rendered(identity, 40.0)
        gains.append(difference(face, truth) - difference(turn_face(face, 0.0, 40.0), truth))
    assert np.mean(gains) > 5 and min(gains) > 0


def test_a_face_that_stays_where_it_is_keeps_its_pixels(identities):
    for yaw in (0.0, 20.0):
        faces = [rendered(identity, yaw) for identity in identities]
        assert np.mean([difference(turn_face(face, yaw, yaw), face) for face in faces]) < 4


def test_left_is_the_mirror_image_of_right():
    face = rendered(3, 0.0)
    mirrored = np.ascontiguousarray(face[:, ::-1])
    assert difference(turn_face(mirrored, -10.0, -50.0)[:, ::-1], turn_face(face, 10.0, 50.0)) < 1.5


def test_a_yaw_that_cannot_be_is_cut():
    face = rendered(2, 30.0)
    assert np.array_equal(turn_face(face, 80.0, 60.0), turn_face(face, 35.0, 60.0))
    assert not np.array_equal(turn_face(face, 20.0, 60.0), turn_face(face, 35.0, 60.0))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "faces.lmdb"
    with FaceWriter(path) as writer:
        for identity in range(5):
            writer.write(encode_jpeg(rendered(identity, 0.0)), identity // 2)
    return open_faces(path)


def test_every_photograph_is_followed_by_its_views(photographs, tmp_path):
    yaw = np.array([20.0, -20.0, 0.0, 40.0, 12.0])
    for name in ("first", "second"):
        write_with_views(photographs, yaw, tmp_path / name, num_views=2, degrees=(30, 70), seed=3)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    made = open_faces(tmp_path / "first")
    assert made.identity_ids.tolist() == np.repeat(photographs.identity_ids, 3).tolist()
    assert [made.encoded(3 * row) for row in range(5)] == [photographs.encoded(row) for row in range(5)]
    for row, seen in enumerate(yaw):
        for view in (1, 2):
            image = made.image(3 * row + view)
            to_either_side = [turn_face(photographs.image(row), seen, side * 50.0) for side in (-1, 1)]
            left, right = (difference(image, one) for one in to_either_side)
            assert abs(seen) < 8 or (right < left) == (seen > 0)
    write_with_views(photographs, yaw, tmp_path / "other", num_views=2, degrees=(30, 70), seed=4)
    assert open_faces(tmp_path / "other").encoded(1) != made.encoded(1)


@pytest.mark.parametrize(("num_views", "degrees"), [(0, (20, 80)), (1, (0, 80)), (1, (50, 40)), (1, (20, 95))])
def test_views_that_cannot_be_are_refused(photographs, tmp_path, num_views, degrees):
    with pytest.raises(InputError, match=rf"{num_views} views of {degrees[0]} to {degrees[1]} degrees"):
        write_with_views(photographs, np.zeros(5), tmp_path / "x", num_views=num_views, degrees=degrees, seed=0)
    assert not list(tmp_path.iterdir())


def test_yaw_is_that_of_the_network_one_by_one(photographs, tmp_path):
    torch.manual_seed(0)
    network = YawNetwork(4).eval()
    save_yaw_network(network, tmp_path / "yaw.safetensors")
    pixels = [torch.from_numpy(photographs.image(i).copy()).permute(2, 0, 1)[None] / 127.5 - 1 for i in range(5)]
    with torch.no_grad():
        expected = [network(image).item() for image in pixels]
    np.testing.assert_allclose(measure_yaw(photographs, tmp_path / "yaw.safetensors"), expected, atol=1e-3)
