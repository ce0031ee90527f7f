"""Networks over datasets and arrays: every face once, in order, whatever the batch size."""

import numpy as np
import pytest
import torch
from face_files import make_faces

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.open import open_faces
from generate.networks.over_faces import face_batches, outputs_over_faces


def mean_colours(images):
    return images.mean((2, 3))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=3, images_per_identity=3)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_face_has_its_output_in_order(faces, batch_size):
    images = np.stack([faces.image(row) for row in range(len(faces))])
    expected = (images / 127.5 - 1).mean(axis=(1, 2))
    sizes = []
    outputs = outputs_over_faces(mean_colours, faces, batch_size=batch_size, on_done=sizes.append)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert outputs.dtype == np.float32
    assert sum(sizes) == len(faces) and max(sizes) <= batch_size
    assert np.array_equal(outputs, outputs_over_faces(mean_colours, images, batch_size=batch_size))


def test_a_range_of_faces_and_one_number_each(faces):
    every = outputs_over_faces(lambda images: images.mean((1, 2, 3)), faces, batch_size=2)
    some = outputs_over_faces(lambda images: images.mean((1, 2, 3)), faces, batch_size=2, rows=range(2, 7))
    assert some.shape == (5,) and np.array_equal(some, every[2:7])
    assert [len(batch) for batch in face_batches(faces, 2, range(2, 7))] == [2, 2, 1]


def test_half_precision_outputs_become_float32(faces):
    outputs = outputs_over_faces(lambda images: mean_colours(images).to(torch.bfloat16), faces, batch_size=4)
    assert outputs.dtype == np.float32


def test_a_face_of_another_size_is_named(tmp_path):
    for person in ("a", "b"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "1.jpg").write_bytes(encode_jpeg(np.zeros((96, 80, 3), np.uint8)))
    with pytest.raises(InputError, match=r"1\.jpg is 80 x 96 pixels, not square; align faces"):
        outputs_over_faces(mean_colours, open_faces(tmp_path), batch_size=4)
