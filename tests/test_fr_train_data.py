"""Decoding: equal to Pillow, any format and size, and damage is named."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import InputError
from bench.records import FaceWriter, encode_jpeg, open_faces
from fr_train.data import decode_faces


def picture(seed: int, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def file_of(image: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    def write_faces(*files: bytes):
        with FaceWriter(tmp_path / "faces.lmdb") as writer:
            for position, file in enumerate(files):
                writer.write(file, position % 2)
        return open_faces(tmp_path / "faces.lmdb")

    return write_faces


def test_every_format_decodes_as_pillow_does(write):
    files = [
        encode_jpeg(picture(0)),
        file_of(picture(1), "JPEG", quality=60, subsampling=2),
        file_of(picture(2), "JPEG", progressive=True),
        file_of(picture(3), "PNG"),
        file_of(picture(4), "BMP"),
        file_of(picture(5)[..., 0], "JPEG"),
    ]
    faces = write(*files)
    decoded = decode_faces(faces, np.arange(6))
    assert decoded.dtype == torch.uint8
    for position, file in enumerate(files):
        np.testing.assert_array_equal(decoded[position], np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


def test_other_sizes_are_resized(write):
    faces = write(encode_jpeg(picture(0, (160, 128))), encode_jpeg(picture(1)))
    decoded = decode_faces(faces, np.array([0, 1]))
    expected = Image.fromarray(faces.image(0)).resize((112, 112), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(decoded[0].int(), np.asarray(expected).astype(int), atol=2)


@pytest.mark.parametrize("damage", [lambda file: file[: len(file) // 2], lambda file: b"\x00" * 100])
def test_a_damaged_record_is_named(write, damage):
    faces = write(encode_jpeg(picture(0)), damage(encode_jpeg(picture(1))))
    with pytest.raises(InputError, match=r"faces\.lmdb key 1 does not decode .* replace it or mask it out"):
        decode_faces(faces, np.array([0, 1]))
