"""Datasets of photographs with turned views, and the yaw that is measured for them."""

import numpy as np
import pytest
import torch
from rendered_faces import face_difference, rendered_at_yaw

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces
from generate.networks.yaw import YawNetwork, save_yaw_network
from generate.render.turned import turn_face
from generate.training.prepared.turn import measure_yaw, write_with_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "faces.lmdb"
    with FaceWriter(path) as writer:
        for identity in range(5):
            writer.write(encode_jpeg(rendered_at_yaw(identity, 0.0)), identity // 2)
    return open_faces(path)


@pytest.mark.slow
def test_every_photograph_is_followed_by_its_views(photographs, tmp_path):
    yaw = np.array([20.0, -20.0, 0.0, 40.0, 12.0])
    for name in ("first", "second"):
        write_with_views(photographs, yaw, tmp_path / name, num_views=2, degrees=(30, 70), seed=3)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    written = open_faces(tmp_path / "first")
    assert written.identity_ids.tolist() == np.repeat(photographs.identity_ids, 3).tolist()
    assert [written.encoded(3 * row) for row in range(5)] == [photographs.encoded(row) for row in range(5)]
    for row, photo_yaw in enumerate(yaw):
        for view in (1, 2):
            image = written.image(3 * row + view)
            left, right = (
                face_difference(image, turn_face(photographs.image(row), photo_yaw, side * 50.0)) for side in (-1, 1)
            )
            assert abs(photo_yaw) < 8 or (right < left) == (photo_yaw > 0)
    write_with_views(photographs, yaw, tmp_path / "other", num_views=2, degrees=(30, 70), seed=4)
    assert open_faces(tmp_path / "other").encoded(1) != written.encoded(1)


@pytest.mark.parametrize(("num_views", "degrees"), [(0, (20, 80)), (1, (0, 80)), (1, (50, 40)), (1, (20, 95))])
def test_impossible_views_are_refused(photographs, tmp_path, num_views, degrees):
    with pytest.raises(InputError, match=rf"{num_views} views of {degrees[0]} to {degrees[1]} degrees"):
        write_with_views(photographs, np.zeros(5), tmp_path / "x", num_views=num_views, degrees=degrees, seed=0)
    assert not list(tmp_path.iterdir())


def test_photographs_are_not_replaced_by_themselves_with_views(photographs):
    with pytest.raises(InputError, match="is what the result is made from, and would be lost; give another --out"):
        write_with_views(photographs, np.zeros(5), photographs.path, num_views=1, degrees=(20, 80), seed=0)


def test_measured_yaw_is_that_of_the_network_on_each_face_alone(photographs, tmp_path):
    torch.manual_seed(0)
    network = YawNetwork(4).eval()
    save_yaw_network(network, tmp_path / "yaw.safetensors")
    pixels = [torch.from_numpy(photographs.image(i).copy()).permute(2, 0, 1)[None] / 127.5 - 1 for i in range(5)]
    with torch.no_grad():
        expected = [network(image).item() for image in pixels]
    np.testing.assert_allclose(measure_yaw(photographs, tmp_path / "yaw.safetensors"), expected, atol=1e-3)
