"""``.bin``, ``.xz`` and ``.npy``: round trips, one-line messages for broken files, and pickles that must not run."""

import lzma
import os
import pickle
import shutil

import numpy as np
import pytest
from paths import FORMATS
from verification_images import jpegs

from bench.errors import InputError
from evaluate.layouts.packed import write_bin
from evaluate.protocol import load_protocol


def test_bin_round_trip_and_shared_images_are_held_once(tmp_path):
    a, b, c = jpegs(3)
    write_bin(tmp_path / "set.bin", [a, b, a, c, b, c], [True, False, False])
    protocol = load_protocol(tmp_path / "set.bin")
    assert len(protocol.faces) == 3
    np.testing.assert_array_equal(protocol.pairs, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(protocol.is_genuine, [True, False, False])


def test_images_and_labels_that_disagree(tmp_path):
    with (tmp_path / "odd.bin").open("wb") as file:
        pickle.dump((jpegs(3), [True, False]), file)
    with pytest.raises(InputError, match=r"odd.bin holds 3 images and 2 labels; needs two images per label; fetch"):
        load_protocol(tmp_path / "odd.bin")
    with pytest.raises(InputError, match="holds 0 images and 0 labels"):
        write_bin(tmp_path / "empty.bin", [], [])
    assert not (tmp_path / "empty.bin").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no pickle at all", "is not a complete verification pickle"),
        (pickle.dumps([1, 2, 3]), r"holds a list, not \(images, labels\)"),
        (pickle.dumps((b"a", [True])), "holds bytes and list, not a list of images and a list of labels"),
        (pickle.dumps(([b"a", b"b"], [7])), "label 0 is 7; must be 1"),
        (pickle.dumps(([1.5, b"b"], [True])), "image 0 is a float; must be an image file"),
        ((FORMATS / "toy.bin").read_bytes()[:9000], "is not a complete verification pickle"),
    ],
)
def test_not_a_verification_pickle(tmp_path, content, message):
    (tmp_path / "bad.bin").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_protocol(tmp_path / "bad.bin")
    assert str(error.value).startswith(str(tmp_path / "bad.bin"))
    assert "fetch or pack it again" in str(error.value) or "label" in str(error.value)


def test_a_cut_short_xz(tmp_path):
    (tmp_path / "cut.xz").write_bytes((FORMATS / "toy.xz").read_bytes()[:20_000])
    with pytest.raises(
        InputError, match=r"cut.xz is not a complete verification pickle \(EOFError: Compressed file ended"
    ):
        load_protocol(tmp_path / "cut.xz")


class Attack:
    """A pickle that would run a command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("opener", [open, lzma.open])
def test_a_malicious_pickle_does_not_run(tmp_path, protocol, opener):
    marker = tmp_path / "was_here"
    with opener(tmp_path / "evil.bin", "wb") as file:
        pickle.dump(([Attack(marker), b""], [True]), file, protocol=protocol)
    with pytest.raises(InputError, match=r"evil.bin holds (posix|nt).system, which a test set does not need"):
        load_protocol(tmp_path / "evil.bin")
    assert not marker.exists()


def test_a_harmless_looking_detour_is_refused_too(tmp_path):
    """``getattr`` and friends rebuild anything from allowed parts: only the exact names of the list pass."""
    for attack in (b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"c_codecs\ndecode\n(S'x'\ntR."):
        (tmp_path / "evil.bin").write_bytes(attack)
        with pytest.raises(InputError, match="which a test set does not need and which may run code"):
            load_protocol(tmp_path / "evil.bin")


def test_npy_folders_that_do_not_fit(tmp_path):
    folder = tmp_path / "toy"
    shutil.copytree(FORMATS / "toy", folder)
    (folder / "issame.txt").write_text("1\n0\n")
    with pytest.raises(InputError, match="holds 40 images and 2 labels"):
        load_protocol(folder)
    (folder / "issame.txt").unlink()
    with pytest.raises(InputError, match=r"issame.txt does not exist; needs one line, 0 or 1, per pair"):
        load_protocol(folder)
    (folder / "issame.txt").write_text("1\n")
    np.save(folder / "toy.npy", np.zeros((2, 112, 112, 3), dtype=np.uint8))
    with pytest.raises(
        InputError, match=r"is uint8 of shape \(2, 112, 112, 3\); needs uint8 \(2 \* num_pairs, 3, 112, 112\)"
    ):
        load_protocol(folder)
    (folder / "toy.npy").write_bytes((FORMATS / "toy" / "toy.npy").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"toy.npy is not a whole .npy"):
        load_protocol(folder / "toy.npy")


@pytest.mark.slow
def test_files_that_unpack_to_far_more_than_they_hold(tmp_path):
    with lzma.open(tmp_path / "bomb.xz", "wb") as file:
        pickle.dump(([bytes(200 * 2**20), b"b"], [True]), file, protocol=4)
    assert (tmp_path / "bomb.xz").stat().st_size < 2**16
    with pytest.raises(InputError, match=r"bomb.xz unpacks to far more bytes than images would; do not load it"):
        load_protocol(tmp_path / "bomb.xz")
    announces = pickle.PROTO + b"\x04" + pickle.BINBYTES8 + (2**40).to_bytes(8, "little") + b"abc."
    (tmp_path / "announces.bin").write_bytes(announces)
    with pytest.raises(InputError, match=r"announces.bin is not a complete verification pickle"):
        load_protocol(tmp_path / "announces.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cnumpy\nndarray\n(I1000000000\ntR.", "is not a complete verification pickle"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000\ntVb\ntR.", "builds an array in a way"),
        (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(VV1000000000\ntRtR.", "is no label"),
        (
            b"(V" + b"x" * 1000 + b"\np0\n0" + b"c_codecs\nencode\n(g0\nVlatin1\ntR" * 1000 + b"l.",
            "builds more bytes than it holds",
        ),
        (pickle.dumps(([b"a", b"b"], np.array(True))), "holds one value instead of a list of labels"),
        (pickle.dumps(([b"a", b"b"], [10**400])), r"label 0 is 10+\.\.\.0+; must be 1"),
        (pickle.dumps(([b"a", b"b"], [[[[[[[[[]]]]]]]]])), r"label 0 is \[+\.\.\.\]+; must be 1"),
    ],
)
def test_pickles_that_build_more_than_they_hold(tmp_path, content, message):
    (tmp_path / "bad.bin").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_protocol(tmp_path / "bad.bin")


@pytest.mark.parametrize(
    "shape", [b"(-4, 3, 112, 112)", b"(10**99, 3, 112, 112)", b"(((((", b"(99999999, 3, 112, 112)"]
)
def test_damaged_headers_of_npy(tmp_path, shape):
    folder = tmp_path / "toy"
    shutil.copytree(FORMATS / "toy", folder)
    content = bytearray((folder / "toy.npy").read_bytes())
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + b", }"
    content[10:128] = header.ljust(117) + b"\n"
    (folder / "toy.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"toy.npy (is not a whole .npy|is uint8 of shape)"):
        load_protocol(folder)
