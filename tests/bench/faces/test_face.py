"""Image files decoded and encoded, their suffixes, and faces that must be 112 x 112."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from face_files import make_faces
from PIL import Image, ImageOps, PngImagePlugin

from bench.errors import InputError
from bench.faces import face
from bench.faces.face import (
    aligned_image,
    check_sizes,
    decode_image,
    encode_jpeg,
    image_size,
    image_suffix,
    sample_sha256,
    to_face_size,
)
from bench.faces.lmdb_file import FaceWriter, LmdbFaces
from bench.faces.open import open_faces


def encode(image, format):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "suffix"),
    [
        *(("JPEG", ".jpg"), ("PNG", ".png"), ("BMP", ".bmp"), ("WEBP", ".webp")),
        *(("TIFF", ".tif"), ("GIF", ".gif"), ("PPM", ".ppm")),
    ],
)
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


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
PICTURE = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMATS)
def test_images_are_turned_as_their_orientation_says(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, format=format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(buffer)).convert("RGB")
    decoded = decode_image(buffer.getvalue())
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.shape[:2] == ((48, 64) if orientation <= 4 else (64, 48))
    assert image_size(buffer.getvalue()) == decoded.shape[1::-1]


def test_datasets_are_told_apart_by_identities_and_images(tmp_path, monkeypatch):
    faces = make_faces(tmp_path / "a", num_identities=3, images_per_identity=4)
    digest = sample_sha256(faces)
    monkeypatch.setattr(face, "_IDS_PER_BLOCK", 5)
    assert sample_sha256(open_faces(faces.path)) == digest
    faces.identity_ids[3] = 1
    other_labels = sample_sha256(faces)
    faces.select(np.arange(8))
    with monkeypatch.context() as patch:
        patch.setattr(LmdbFaces, "encoded", lambda *_: b"another image")
        other_images = sample_sha256(open_faces(faces.path))
        patch.setattr(LmdbFaces, "encoded", raise_input_error)
        broken = sample_sha256(open_faces(faces.path))
    assert len({digest, other_labels, sample_sha256(faces), other_images, broken}) == 5


def raise_input_error(*_):
    raise InputError("record 0 is missing")


def test_damaged_exif_is_ignored():
    encoded = encode_jpeg(PICTURE)
    junk = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\xff\xff\xff\xff" * 3
    damaged = encoded[:2] + b"\xff\xe1" + (len(junk) + 2).to_bytes(2, "big") + junk + encoded[2:]
    np.testing.assert_array_equal(decode_image(damaged), decode_image(encoded))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_grey_images_of_16_bits_look_like_those_of_8(format):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = decode_image(encode(grey.astype(np.uint16) * 257, format))
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))


def empty_png(side):
    """A grey PNG whose header announces side x side pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data


def much_text():
    text = PngImagePlugin.PngInfo()
    text.add_text("k", "v" * 2_000_000, zip=True)
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: empty_png(20_000), r"400000000 pixels"),
        (lambda: empty_png(6400), "6400 x 6400 pixels are more than 40000000"),
        (much_text, "Decompressed data too large"),
        (lambda: encode(np.zeros((8, 8), np.float32), "TIFF"), "pixels of 32 bits have no known white"),
        (lambda: encode(np.zeros((8, 8), np.int32), "TIFF"), "pixels of 32 bits have no known white"),
        (lambda: EPS, "none of JPEG, PNG"),  # Pillow would start Ghostscript
        (lambda: b"", "0 bytes starting nothing"),
        (lambda: encode(PICTURE, "PNG")[:-40], "bytes starting 89504e47"),
        (lambda: encode(PICTURE, "TIFF")[:100], "bytes starting 49492a00"),
    ],
)
def test_odd_images_are_refused_by_name(make, problem):
    encoded = make()
    start = time.perf_counter()
    with pytest.raises(InputError, match=rf"^mine\.png does not decode \(.*{problem}.*\); replace it or mask it out$"):
        decode_image(encoded, "mine.png")
    assert time.perf_counter() - start < 1


def test_square_faces_are_scaled_and_others_are_refused():
    face = np.zeros((112, 112, 3), np.uint8)
    assert to_face_size(face, "a") is face
    assert to_face_size(PICTURE[:48, :48], "a").shape == (112, 112, 3)
    with pytest.raises(InputError, match=r"^a is 64 x 48 pixels, not square; align faces to 112 x 112$"):
        to_face_size(PICTURE, "a")


@pytest.mark.parametrize(
    ("size", "problem"),
    [((112, 96), "key 0 is 96 x 112 pixels, not square"), ((250, 250), "250 x 250 pixels, the size of LFW's phot")],
)
def test_faces_that_are_not_aligned_are_told_at_once(tmp_path, size, problem):
    faces = dataset_of(tmp_path, [encode_jpeg(np.zeros((*size, 3), np.uint8))] * 2)
    with pytest.raises(InputError, match=rf"{problem}.*python -m bench convert FOLDER OUT --align LANDMARKS"):
        check_sizes(faces)


def test_the_first_size_that_is_scaled_is_told(tmp_path):
    good, small = (encode_jpeg(np.zeros((side, side, 3), np.uint8)) for side in (112, 96))
    assert check_sizes(dataset_of(tmp_path, [good, b"no image"])) is None
    assert check_sizes(dataset_of(tmp_path, [good, b"no image", small])) == (96, 96)


def dataset_of(tmp_path, files):
    path = tmp_path / f"{len(files)}.lmdb"
    with FaceWriter(path) as writer:
        for index, file in enumerate(files):
            writer.write(file, index % 2)
    return open_faces(path)
