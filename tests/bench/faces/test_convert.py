"""Conversion between all layouts keeps image files and identities; after an error nothing is left."""

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from paths import FORMATS, ROOT

from bench.errors import InputError
from bench.faces.convert import convert
from bench.faces.face import encode_jpeg
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
