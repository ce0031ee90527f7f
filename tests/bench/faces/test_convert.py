"""Conversion between all layouts keeps image files and identities; after an error nothing is left."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from paths import FORMATS, ROOT
from PIL import Image

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.convert import convert
from bench.faces.face import ARCFACE_TEMPLATE, check_sizes, decode_image, encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces

LAYOUTS = ("lmdb", "rec", "shards", "folder")


def content(faces):
    """Identity and image file of every face, in order."""
    return [(int(faces.identity_ids[i]), faces.encoded(i)) for i in range(len(faces))]


@pytest.mark.parametrize(("first", "second"), list(product(LAYOUTS, LAYOUTS)))
def test_there_and_back(tmp_path, first, second):
    source = open_faces(FORMATS / "hsface_layout.lmdb")
    convert(source, tmp_path / "first", first)
    convert(open_faces(tmp_path / "first"), tmp_path / "second", second)
    faces = open_faces(tmp_path / "second")
    assert content(faces) == content(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_a_rec_stores_the_faces_of_an_identity_together(tmp_path):
    jpegs = [encode_jpeg(np.full((8, 8, 3), 40 * i, dtype=np.uint8)) for i in range(5)]
    with FaceWriter(tmp_path / "mixed.lmdb") as writer:
        for jpeg, label in zip(jpegs, [7, 3, 7, 3, 5], strict=True):
            writer.write(jpeg, label)
    faces = open_faces(tmp_path / "mixed.lmdb")
    convert(faces, tmp_path / "rec", "rec")
    assert content(open_faces(tmp_path / "rec")) == sorted(content(faces), key=lambda face: face[0])
    convert(faces, tmp_path / "shards", "shards")
    assert content(open_faces(tmp_path / "shards")) == content(faces)


def test_a_folder_keeps_names_and_pads_numbers(tmp_path):
    for name in ("bob", "ann"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "1.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 3), dtype=np.uint8)))
    convert(open_faces(tmp_path / "faces"), tmp_path / "again", "folder")
    assert open_faces(tmp_path / "again").identity_names == ["ann", "bob"]
    with FaceWriter(tmp_path / "n.lmdb") as writer:
        for label in (2, 10):
            writer.write(encode_jpeg(np.zeros((8, 8, 3), dtype=np.uint8)), label)
    convert(open_faces(tmp_path / "n.lmdb"), tmp_path / "numbers", "folder")
    assert open_faces(tmp_path / "numbers").identity_names == ["02", "10"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_face_that_is_not_an_image_is_named_and_nothing_is_left(tmp_path, layout):
    with FaceWriter(tmp_path / "f.lmdb") as writer:
        for label in (0, 1):
            writer.write(encode_jpeg(np.zeros((8, 8, 3), dtype=np.uint8)), label)
        writer.write(b"nothing", 1)
    with pytest.raises(InputError, match=r"f\.lmdb key 2 is not an image file \(7 bytes starting 6e6f7468\)"):
        convert(open_faces(tmp_path / "f.lmdb"), tmp_path / "out", layout)
    assert [path.name for path in tmp_path.iterdir()] == ["f.lmdb"]


def call(*arguments):
    command = [sys.executable, "-m", "bench", "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_command(tmp_path):
    done = call(FORMATS / "hsface_layout.lmdb", tmp_path / "rec", "--to", "rec")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'rec'}: 20 faces of 5 identities\n"), done.stderr
    again = call(FORMATS / "hsface_layout.lmdb", tmp_path / "rec", "--to", "rec")
    assert again.returncode == 2
    assert again.stderr.strip() == f"error: {tmp_path / 'rec'} exists already; delete it or name another"


def test_shifted_faces_repeat_their_edge(tmp_path):
    image = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :112, None], 112, axis=0).repeat(3, axis=2)
    with FaceWriter(tmp_path / "faces.lmdb") as writer:
        for label in range(2):
            writer.write(encode_jpeg(image), label)
    for pixels, columns in ((8, [0, 0, 0, 92, 206]), (-8, [16, 20, 24, 124, 222])):
        convert(open_faces(tmp_path / "faces.lmdb"), tmp_path / f"{pixels}.lmdb", "lmdb", shift_right=pixels)
        moved = open_faces(tmp_path / f"{pixels}.lmdb").image(0)
        np.testing.assert_allclose(moved[56, [0, 2, 4, 54, 111], 0].astype(int), columns, atol=4)


@pytest.fixture
def photographs(tmp_path):
    """A folder of photographs, each with a face at another place, and their landmarks by name."""
    rng = np.random.default_rng(0)
    lines = {}
    for name in ("ann/0.png", "ann/0.jpg", "ann/profile/1.png", "bob/0.png"):
        image = rng.integers(0, 256, (25, 25, 3), dtype=np.uint8).repeat(10, axis=0).repeat(10, axis=1)
        path = tmp_path / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        lines[name] = 0.8 * ARCFACE_TEMPLATE + rng.uniform(20, 100, 2)
    return tmp_path / "photographs", lines


def write_landmarks(path, lines):
    path.write_text("".join(f"{name} {' '.join(map(str, points.ravel()))}\n" for name, points in lines.items()))
    return path


def test_a_training_set_is_aligned_by_landmarks(photographs, tmp_path):
    folder, lines = photographs
    names = {"profile/1": lines["ann/profile/1.png"], "bob/0": lines["bob/0.png"]}
    landmarks = write_landmarks(tmp_path / "l.txt", {name: lines[name] for name in ("ann/0.png", "ann/0.jpg")} | names)
    done = call(folder, tmp_path / "out", "--to", "folder", "--align", landmarks)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out'}: 4 faces of 2 identities\n"), done.stderr
    source, aligned = open_faces(folder), open_faces(tmp_path / "out")
    assert check_sizes(aligned) is None
    for index, name in enumerate(("ann/0.jpg", "ann/0.png", "ann/profile/1.png", "bob/0.png")):
        assert source.name(index).endswith(name)
        expected = align(source.image(index), lines[name])
        np.testing.assert_array_equal(aligned.image(index), decode_image(encode_jpeg(expected)))


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["ann/0.png", "ann/0.jpg", "profile/1"], r"1 of 4 images, such as bob/0\.png"),
        (["ann/0", "profile/1", "bob/0"], r"2 of 4 images, such as ann/0\.jpg, ann/0\.png"),
        (["ann/0.png", "ann/0.bmp", "profile/1", "bob/0"], r"1 of 4 images, such as ann/0\.jpg"),
    ],
)
def test_images_without_landmarks_of_their_own_are_named(photographs, tmp_path, names, missing):
    folder, lines = photographs
    landmarks = write_landmarks(tmp_path / "l.txt", dict.fromkeys(names, lines["bob/0.png"]))
    with pytest.raises(InputError, match=rf"l\.txt has no line of their own for {missing}"):
        convert(open_faces(folder), tmp_path / "out", "lmdb", landmarks=landmarks)
    assert not (tmp_path / "out").exists()


def test_only_images_of_a_folder_are_aligned(tmp_path):
    with pytest.raises(InputError, match=r"hsface_layout\.lmdb is not a folder of images, whose names landmarks need"):
        convert(open_faces(FORMATS / "hsface_layout.lmdb"), tmp_path / "out", "lmdb", landmarks=tmp_path / "l.txt")


def test_identities_and_files_of_like_names_stay_apart(tmp_path):
    colours = {"1/0.jpg": 10, "1/0.png": 60, "01/0.jpg": 110, "001/0.bmp": 160}
    for name, value in colours.items():
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    convert(open_faces(tmp_path / "faces"), tmp_path / "again", "folder")
    faces = open_faces(tmp_path / "again")
    assert faces.identity_names == ["001", "01", "1"]
    assert [round(faces.image(index).mean(), -1) for index in range(4)] == [160, 110, 10, 60]
