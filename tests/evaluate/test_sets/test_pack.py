"""Packing: every layout reads back as the same set; unaligned images are aligned; what is wrong is refused whole."""

import lzma
import pickle

import numpy as np
import pytest
from PIL import Image

from bench.errors import InputError
from bench.faces.alignment.align import align
from bench.faces.face import ARCFACE_TEMPLATE, to_face_size
from evaluate.test_sets.pack import pack

NAMES = ["Ann/Ann_0001", "Ann/Ann_0002", "Bob/Bob_0001", "m.0x1/m.0x1_0001"]


@pytest.fixture
def aligned(tmp_path):
    """Four aligned faces and three pairs."""
    folder = tmp_path / "faces"
    for place, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(place).integers(0, 255, (7, 7, 3), dtype=np.uint8)
        Image.fromarray(small).resize((112, 112)).save(folder / f"{name}.png")
    (tmp_path / "pairs.txt").write_text(
        f"{NAMES[0]} {NAMES[1]} 1\n{NAMES[0]} {NAMES[2]} 0\n{NAMES[2]}.png {NAMES[3]} 0\n"
    )
    return tmp_path


@pytest.fixture
def unaligned(aligned):
    """The same faces, each twice as large in a larger picture, with landmarks."""
    lines = []
    for name in NAMES:
        path = aligned / "faces" / f"{name}.png"
        canvas = Image.new("RGB", (300, 280))
        canvas.paste(Image.open(path).resize((224, 224)), (40, 30))
        canvas.save(path)
        points = 2 * ARCFACE_TEMPLATE + (40.5, 30.5)
        lines.append(" ".join([f"{name}.png", *(f"{value:.4f}" for value in points.ravel())]))
    (aligned / "landmarks.txt").write_text("\n".join(lines))
    return aligned


def pack_as(folder, out, **more):
    return pack(folder / "faces", folder / "pairs.txt", folder / out, **more)


@pytest.mark.parametrize("out", ["set.bin", "set.xz", "set.npy", "set"])
def test_every_layout_reads_back(aligned, out):
    protocol = pack_as(aligned, out)
    assert protocol.name == "set"
    np.testing.assert_array_equal(protocol.is_genuine, [True, False, False])
    order = [0, 1, 0, 2, 2, 3]
    for image, place in zip(protocol.images, order, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(aligned / "faces" / f"{NAMES[place]}.png")))
    assert len(protocol.faces) == 4


def test_the_bytes_are_those_of_the_field(aligned):
    pack_as(aligned, "set.bin")
    pack_as(aligned, "set.xz")
    with (aligned / "set.bin").open("rb") as file, lzma.open(aligned / "set.xz") as compressed:
        images, labels = pickle.load(file)
        assert pickle.load(compressed) == (images, labels)
    assert images[0] == (aligned / "faces" / f"{NAMES[0]}.png").read_bytes()
    assert labels == [True, False, False]
    pack_as(aligned, "other.npy")
    header = (aligned / "other" / "other.npy").read_bytes()[:128]
    assert header[:8] == b"\x93NUMPY\x01\x00"
    assert b"'|u1'" in header
    assert b"(6, 3, 112, 112)" in header
    assert (aligned / "other" / "issame.txt").read_text() == "1\n0\n0\n"


@pytest.mark.parametrize("out", ["set.bin", "set.npy", "set"])
def test_square_faces_of_another_size_are_scaled(aligned, out):
    file = aligned / "faces" / f"{NAMES[0]}.png"
    Image.open(file).resize((128, 128)).save(file)
    expected = to_face_size(np.asarray(Image.open(file)), NAMES[0])
    np.testing.assert_array_equal(pack_as(aligned, out).images[0], expected)


@pytest.mark.parametrize("out", ["set.bin", "set.npy", "set"])
def test_unaligned_images_are_aligned(unaligned, out):
    protocol = pack_as(unaligned, out, landmarks=unaligned / "landmarks.txt")
    picture = np.asarray(Image.open(unaligned / "faces" / f"{NAMES[2]}.png"))
    expected = align(picture, 2 * ARCFACE_TEMPLATE + (40.5, 30.5)).astype(int)
    assert np.abs(protocol.images[3] - expected).max() <= 1  # landmarks are written to four places
    small = np.random.default_rng(2).integers(0, 255, (7, 7, 3), dtype=np.uint8)
    original = np.asarray(Image.fromarray(small).resize((112, 112)))
    assert np.abs(protocol.images[3].astype(int) - original).mean() < 4


def test_unaligned_images_without_landmarks_are_refused(unaligned):
    with pytest.raises(InputError, match=r"5 of 5 files are not aligned .* is 300 x 280.*evaluate pack"):
        pack_as(unaligned, "set.bin")
    lines = (unaligned / "landmarks.txt").read_text().splitlines()
    (unaligned / "landmarks.txt").write_text("\n".join(lines[1:]))
    with pytest.raises(InputError, match=r"has no line of their own for 1 of 5 images: Ann/Ann_0001; add"):
        pack_as(unaligned, "set.bin", landmarks=unaligned / "landmarks.txt")
    assert not (unaligned / "set.bin").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{NAMES[0]} {NAMES[1]} 1", "line 4: repeats the pair of line 1"),
        (f"{NAMES[0]} {NAMES[0]} 1", f"line 4: {NAMES[0]} is paired with itself"),
        ("Ann/Ann_0009 Bob/Bob_0001 0", r"names 1 missing images \(of 6\): Ann/Ann_0009"),
    ],
)
def test_wrong_pairs_leave_nothing_behind(aligned, line, message):
    with (aligned / "pairs.txt").open("a") as file:
        file.write(line)
    for out in ("set.bin", "set.npy", "set"):
        with pytest.raises(InputError, match=message):
            pack_as(aligned, out)
    assert sorted(entry.name for entry in aligned.iterdir()) == ["faces", "pairs.txt"]


def test_what_is_there_is_not_overwritten(aligned):
    pack_as(aligned, "set")
    with pytest.raises(InputError, match=r"/set exists already; delete it, or give another --out"):
        pack_as(aligned, "set")
    for out in ("set.bin", "set.npy"):
        with pytest.raises(InputError, match=rf"/set has the name of the new set .*{out}; give another --out"):
            pack_as(aligned, out)


def test_images_of_one_name_in_several_folders_have_landmarks_of_their_own(unaligned):
    """CFP names its images 001/frontal/01.jpg, 002/frontal/01.jpg and so on."""
    lines = []
    names = [f"{person}/frontal/01.png" for person in ("001", "002", "003")]
    picture = (unaligned / "faces" / f"{NAMES[0]}.png").read_bytes()
    for place, name in enumerate(names):
        (unaligned / "faces" / name).parent.mkdir(parents=True)
        (unaligned / "faces" / name).write_bytes(picture)
        lines.append(" ".join([name, *map(str, (ARCFACE_TEMPLATE + 30 * place).ravel())]))
    (unaligned / "pairs.txt").write_text(f"{names[0]} {names[1]} 0\n{names[1]} {names[2]} 0\n")
    (unaligned / "landmarks.txt").write_text("\n".join(lines))
    assert len(pack_as(unaligned, "set.bin", landmarks=unaligned / "landmarks.txt").faces) == 3
    (unaligned / "landmarks.txt").write_text("\n".join(f"data/{line}" for line in lines))
    with pytest.raises(InputError, match="no line of their own for 3 of 3 images"):
        pack_as(unaligned, "other.bin", landmarks=unaligned / "landmarks.txt")


def test_images_that_would_become_one_file_are_refused(aligned):
    file = aligned / "faces" / f"{NAMES[0]}.png"
    Image.open(file).save(file.with_suffix(".jpg"))
    (aligned / "pairs.txt").write_text(f"{NAMES[0]}.jpg {NAMES[2]} 0\n{NAMES[2]} {NAMES[0]}.png 0\n")
    with pytest.raises(InputError, match=rf"0001\.jpg and .*0001\.png would both become {NAMES[0]}\.png; rename one"):
        pack_as(aligned, "set")
    assert not (aligned / "set").exists()
    assert len(pack_as(aligned, "set.bin").faces) == 3


def test_rfw_pairs_have_no_first_line(aligned):
    (aligned / "pairs.txt").write_text("Ann\t1\t2\nAnn\t1\tBob\t1\nBob\t1\tm.0x1\t1\n")
    np.testing.assert_array_equal(pack_as(aligned, "rfw_asian.bin").is_genuine, [True, False, False])


def test_paths_that_leave_the_folder(aligned):
    (aligned / "pairs.txt").write_text(f"{NAMES[0]} ../faces/{NAMES[1]} 1\n")
    with pytest.raises(InputError, match="lies outside its folder"):
        pack_as(aligned, "set")
    assert not (aligned / "set").exists()
