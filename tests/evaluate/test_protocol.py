"""Every layout of a test set gives the same faces and labels; names, digests and identities of a set."""

import os
import shutil

import numpy as np
import pytest
from paths import FORMATS
from PIL import Image
from verification_images import faces, write_folder, write_lfw

from bench.errors import InputError
from bench.faces.face import encode_jpeg, to_face_size
from bench.runs.inputs import find_protocol
from evaluate.layouts.packed import write_bin
from evaluate.protocol import load_protocol

LAYOUTS = ["toy.bin", "toy.xz", "toy", "toy_numpy_payload.bin"]


@pytest.fixture
def lfw(tmp_path):
    return write_lfw(tmp_path / "lfw")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_agree(layout):
    protocol = load_protocol(FORMATS / layout)
    expected = np.load(FORMATS / "toy" / "toy.npy").transpose(0, 2, 3, 1)
    labels = np.array((FORMATS / "toy" / "issame.txt").read_text().split(), dtype=float) == 1
    np.testing.assert_array_equal(protocol.is_genuine, labels)
    assert protocol.is_genuine.dtype == bool
    assert protocol.num_pairs == 20
    images = protocol.images
    assert (len(images), images.shape, images.dtype) == (40, (40, 112, 112, 3), np.uint8)
    lossy = layout == "toy_numpy_payload.bin"
    assert np.abs(np.asarray(images).astype(int) - expected).max() <= (60 if lossy else 0)
    assert np.abs(np.asarray(images).astype(int) - expected).mean() < 5
    np.testing.assert_array_equal(images[3:5], np.asarray(images)[3:5])
    assert len(protocol.sha256) == 64


def test_rfw_is_found_as_its_authors_lay_it_out(tmp_path):
    names = [f"m.0{who}/m.0{who}_000{i}.png" for who in "ab" for i in (1, 2)]
    write_folder(tmp_path / "rfw" / "data" / "Asian", names)
    path = tmp_path / "rfw" / "txts" / "Asian" / "Asian_pairs.txt"
    path.parent.mkdir(parents=True)
    path.write_text("m.0a\t1\t2\nm.0a\t1\tm.0b\t2\n")
    assert find_protocol("rfw_asian", tmp_path) == path
    protocol = load_protocol(path)
    assert protocol.name == "rfw_asian"
    assert protocol.is_genuine.tolist() == [True, False]
    np.testing.assert_array_equal(protocol.images[3], faces(4)[3])


def test_names():
    assert [load_protocol(FORMATS / layout).name for layout in LAYOUTS] == ["toy", "toy", "toy", "toy_numpy_payload"]


def test_red_stays_red(tmp_path):
    red = np.zeros((112, 112, 3), dtype=np.uint8)
    red[..., 0] = 200
    write_bin(tmp_path / "red.bin", [encode_jpeg(red)] * 2, [True])
    assert load_protocol(tmp_path / "red.bin").images[0].mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=3)


def test_other_square_sizes_of_a_bin_are_scaled_but_not_oblong_ones(tmp_path):
    large = encode_jpeg(np.full((160, 160, 3), 90, dtype=np.uint8))
    write_bin(tmp_path / "large.bin", [large, large], [True])
    assert load_protocol(tmp_path / "large.bin").images[0].shape == (112, 112, 3)
    oblong = encode_jpeg(np.full((112, 90, 3), 90, dtype=np.uint8))
    write_bin(tmp_path / "oblong.bin", [large, oblong], [True])
    with pytest.raises(
        InputError, match=r"oblong.bin: 1 of 2 files are not aligned 112 x 112 faces: image 1 is 90 x 112"
    ):
        load_protocol(tmp_path / "oblong.bin")


def test_one_rule_of_sizes_holds_for_image_files_too(tmp_path):
    write_folder(tmp_path / "large", ["a/1.png", "a/2.png"])
    for number in (1, 2):
        file = tmp_path / "large" / "a" / f"{number}.png"
        Image.open(file).resize((160, 160)).save(file)
    (tmp_path / "large" / "pairs.txt").write_text("a/1.png\ta/2.png\t1\n")
    expected = to_face_size(np.asarray(Image.open(tmp_path / "large" / "a" / "1.png")), "a/1.png")
    np.testing.assert_array_equal(load_protocol(tmp_path / "large").images[0], expected)
    Image.open(file).resize((250, 250)).save(file)
    with pytest.raises(InputError, match=r"1 of 2 files are not aligned 112 x 112 faces: a/2.png is 250 x 250"):
        load_protocol(tmp_path / "large")


def test_lfw_layout(lfw):
    protocol = load_protocol(lfw)
    assert protocol.name == "lfw"
    np.testing.assert_array_equal(protocol.is_genuine, [True, False, True, False])
    expected = [np.asarray(Image.open(lfw / name)) for name in ("Ann/Ann_0001.png", "Bob/Bob_0001.png")]
    np.testing.assert_array_equal(protocol.images[2:4], expected)
    ids = protocol.identity_ids
    assert ids[protocol.pairs[0, 0]] == ids[protocol.pairs[0, 1]] != ids[protocol.pairs[1, 1]]
    assert load_protocol(lfw / "pairs.txt").sha256 == protocol.sha256


@pytest.mark.parametrize("name", ["cfp", "cfp_fp"])
def test_generic_layout_with_images_beside_or_below(tmp_path, name):
    folder = write_folder(tmp_path / name, ["images/001/a.png", "images/001/b.png", "images/002/a.png"])
    (folder / "pairs_FP.txt").write_text("001/a.png 001/b.png 1\n001/a 002/a 0\n")
    protocol = load_protocol(folder / "pairs_FP.txt")
    assert protocol.name == "cfp_fp"
    np.testing.assert_array_equal(protocol.is_genuine, [True, False])


def test_sha256_follows_the_bytes_of_the_images(lfw):
    before = load_protocol(lfw).sha256
    Image.fromarray(faces(1, seed=9)[0]).save(lfw / "Ann" / "Ann_0001.png")
    assert load_protocol(lfw).sha256 != before


def test_a_broken_image_is_found_before_any_embedding(lfw):
    (lfw / "Bob" / "Bob_0002.png").write_bytes(b"not an image")
    with pytest.raises(
        InputError, match=r"1 of 4 files are not aligned .*: Bob/Bob_0002 does not decode; replace or align them"
    ):
        load_protocol(lfw)


def test_a_folder_without_or_with_two_pairs_files(lfw):
    shutil.copy(lfw / "pairs.txt", lfw / "pairs_other.txt")
    with pytest.raises(InputError, match=r"holds the pairs files pairs.txt, pairs_other.txt; give .* or name one"):
        load_protocol(lfw)
    (lfw / "pairs.txt").unlink()
    (lfw / "pairs_other.txt").unlink()
    with pytest.raises(InputError, match="holds no pairs file"):
        load_protocol(lfw)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match=r"gone.bin does not exist; give a .bin"):
        load_protocol(tmp_path / "gone.bin")


@pytest.mark.parametrize(
    ("folder", "pairs_file", "name"),
    [
        ("calfw", "pairs_CALFW.txt", "calfw"),
        ("lfw", "pairs_lfw.txt", "lfw"),
        ("agedb_30", "agedb_30_pairs.txt", "agedb_30"),
        ("cfp", "pairs_FP.txt", "cfp_fp"),
        ("cfp_fp", "pairs_FP.txt", "cfp_fp"),
        ("lfw", "pairsDevTest.txt", "lfw_devtest"),
    ],
)
def test_names_of_folders_with_a_pairs_file(tmp_path, folder, pairs_file, name):
    images = write_folder(tmp_path / folder, ["a/1.png", "b/1.png"])
    (images / pairs_file).write_text("a/1.png b/1.png 0\n")
    (images / f"._{pairs_file}").write_bytes(b"\0\5\26\7")  # as macOS leaves it
    assert load_protocol(images).name == name
    assert load_protocol(images, "asked").name == "asked"
    (tmp_path / "link").symlink_to(images)
    assert load_protocol(tmp_path / "link").name.startswith("link")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(InputError, match="does not exist; give") as error:
        load_protocol(name)
    assert len(str(error.value)) < 600


def test_a_pipe_is_no_set(tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(InputError, match=r"pipe.bin is neither a file nor a folder; give a .bin"):
        load_protocol(tmp_path / "pipe.bin")
