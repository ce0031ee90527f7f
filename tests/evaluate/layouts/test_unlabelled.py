"""Unlabelled pairs: the published layouts are read back, and files that do not fit are refused."""

import lzma
import pickle

import numpy as np
import pytest

from bench.errors import InputError
from evaluate.layouts.unlabelled import open_unlabelled, write_unlabelled


def make_images(num_images, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (num_images, 3, 112, 112), dtype=np.uint8)


def test_every_layout_gives_the_same_images(tmp_path):
    images = make_images(6)
    write_unlabelled(tmp_path / "testA.xz", images)
    (tmp_path / "testB").mkdir()
    np.save(tmp_path / "testB" / "images.npy", images)
    np.save(tmp_path / "plain.npy", images)
    for path, name in (
        ("testA.xz", "testA"),
        ("testB", "testB"),
        ("testB/images.npy", "testB"),
        ("plain.npy", "plain"),
    ):
        pairs = open_unlabelled(tmp_path / path)
        assert (pairs.name, pairs.num_pairs, pairs.num_images) == (name, 3, 6)
        batches = list(pairs.batches(4))
        assert [len(batch) for batch in batches] == [4, 2]
        assert np.array_equal(np.concatenate(batches), images)


def test_the_published_bytes_are_those_of_numpy(tmp_path):
    images = make_images(2)
    write_unlabelled(tmp_path / "testA.xz", images)
    np.save(tmp_path / "images.npy", images)
    content = lzma.decompress((tmp_path / "testA.xz").read_bytes())
    assert content == (tmp_path / "images.npy").read_bytes()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 3, 112, 112), np.uint8), "holds 5 images; give two for each pair, in the order a0, b0, a1, b1"),
        (np.zeros((0, 3, 112, 112), np.uint8), "holds 0 images; give two for each pair"),
        (np.zeros((4, 112, 112, 3), np.uint8), r"holds uint8 of shape \(4, 112, 112, 3\); give uint8 of shape \(2P, 3"),
        (np.zeros((4, 3, 112, 96), np.uint8), r"holds uint8 of shape \(4, 3, 112, 96\)"),
        (np.zeros((4, 3, 112, 112), np.float32), r"holds float32 of shape \(4, 3, 112, 112\)"),
        (np.zeros(4, np.uint8), r"holds uint8 of shape \(4,\)"),
        (np.asfortranarray(np.zeros((4, 3, 112, 112), np.uint8)), "is in Fortran order; write it again"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "images.npy", array)
    with lzma.open(tmp_path / "pairs.xz", "wb") as file:
        np.save(file, array)
    for name in ("images.npy", "pairs.xz"):
        with pytest.raises(InputError, match=message):
            open_unlabelled(tmp_path / name)


def test_files_that_are_no_array(tmp_path):
    with lzma.open(tmp_path / "lfw.xz", "wb") as file:
        pickle.dump(([b"jpeg"] * 2, [True]), file)  # a labelled test set
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "broken.xz").write_bytes(bytes.fromhex("fd377a585a00") + b"no stream at all")
    for name in ("lfw.xz", "text.npy", "broken.xz"):
        with pytest.raises(InputError, match=rf"{name} is no \.npy, or \.xz of one \(.*\); give the unlabelled pairs"):
            open_unlabelled(tmp_path / name)
    with pytest.raises(InputError, match=r"gone\.xz does not exist; give an \.xz or \.npy of images, or a folder"):
        open_unlabelled(tmp_path / "gone.xz")


def test_files_that_are_cut_short_or_go_on(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, make_images(4))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="ends before image 4; fetch it again"):
        list(open_unlabelled(path).batches(2))
    path.write_bytes(whole + b"x")
    with pytest.raises(InputError, match="goes on after its 4 images; fetch it again"):
        list(open_unlabelled(path).batches(2))
    write_unlabelled(tmp_path / "testA.xz", make_images(4))
    compressed = (tmp_path / "testA.xz").read_bytes()
    (tmp_path / "testA.xz").write_bytes(compressed[: len(compressed) // 2])
    with pytest.raises(InputError, match=r"is a broken \.xz|ends before image 4"):
        list(open_unlabelled(tmp_path / "testA.xz").batches(2))
