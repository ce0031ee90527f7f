"""Image files decoded and encoded, their suffixes, and faces that must be 112 x 112."""

import io

import numpy as np
import pytest
from face_files import make_faces
from PIL import Image

from bench.errors import InputError
from bench.faces.face import aligned_image, decode_image, encode_jpeg, image_suffix
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces


def encode(image, format):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=format)
    return buffer.getvalue()


@pytest.mark.parametrize(("format", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("BMP", ".bmp"), ("WEBP", ".webp")])
def test_the_suffix_of_each_format(format, suffix):
    assert image_suffix(encode(np.zeros((8, 8, 3), np.uint8), format), "face") == suffix


@pytest.mark.parametrize(
    ("encoded", "start"), [(b"text", r"4 bytes starting 74657874"), (b"", r"0 bytes starting nothing")]
)
def test_other_bytes_have_no_suffix(encoded, start):
    with pytest.raises(InputError, match=rf"mine\.jpg is not an image file \({start}\); replace it or mask it out"):
        image_suffix(encoded, "mine.jpg")


def test_grey_and_transparent_images_become_rgb():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(decode_image(encode(grey, "PNG")), np.stack([grey] * 3, axis=-1))
    transparent = np.dstack([np.full((8, 8, 3), 7, np.uint8), np.zeros((8, 8), np.uint8)])
    np.testing.assert_array_equal(decode_image(encode(transparent, "PNG")), transparent[..., :3])


def test_jpegs_keep_the_colours_of_single_pixels():
    image = np.zeros((16, 16, 3), np.uint8)
    image[::2, :, 0], image[1::2, :, 2] = 200, 200  # red and blue rows, which chroma subsampling would mix
    assert np.abs(decode_image(encode_jpeg(image, quality=100)).astype(int) - image).max() < 20


def test_an_aligned_image_has_112_x_112_pixels(tmp_path):
    faces = make_faces(tmp_path, num_identities=2, images_per_identity=1)
    assert aligned_image(faces, 1).shape == (112, 112, 3)
    with FaceWriter(tmp_path / "small.lmdb") as writer:
        for identity_id in range(2):
            writer.write(encode_jpeg(np.zeros((96, 112, 3), np.uint8)), identity_id)
    with pytest.raises(InputError, match=r"small\.lmdb key 1 is 112 x 96 pixels, not square; align faces to 112 x 112"):
        aligned_image(open_faces(tmp_path / "small.lmdb"), 1)
