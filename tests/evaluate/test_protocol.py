"""Every layout of a verification set gives the same faces and labels; every broken one its one-line message."""

import json
import lzma
import os
import pickle
import shutil

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from paths import FORMATS
from PIL import Image

from bench.errors import InputError
from bench.faces.lmdb_file import encode_jpeg
from bench.runs.inputs import find_protocol
from evaluate.layouts.packed import write_bin
from evaluate.protocol import load_protocol

LAYOUTS = ["toy.bin", "toy.xz", "toy", "toy_numpy_payload.bin"]


def faces(num, seed=0):
    """Made-up faces: smooth, so that JPEG keeps them nearly as they are."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (num, 7, 7, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(one).resize((112, 112), Image.Resampling.BILINEAR)) for one in small]


def jpegs(num, seed=0):
    return [encode_jpeg(face) for face in faces(num, seed)]


def write_folder(folder, names):
    for name, face in zip(names, faces(len(names)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / name)
    return folder


@pytest.fixture
def lfw(tmp_path):
    """A miniature in LFW's layout: two folds of one genuine and one impostor pair."""
    folder = write_folder(tmp_path / "lfw", [f"{who}/{who}_000{i}.png" for who in ("Ann", "Bob") for i in (1, 2)])
    (folder / "pairs.txt").write_text("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nBob\t1\t2\nAnn\t2\tBob\t2\n")
    return folder


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


def write_memfile(folder, images, labels):
    """As AdaFace's make_memmap does: BGR floats in [-1, 1]."""
    floats = ((images.transpose(0, 3, 1, 2)[:, ::-1].astype(np.float32) / 255) - 0.5) / 0.5
    (folder / "memfile").mkdir(parents=True)
    (folder / "memfile" / "mem_file.dat").write_bytes(np.ascontiguousarray(floats).tobytes())
    about = {"shape": floats.shape, "dtype": str(floats.dtype)}
    (folder / "memfile" / "mem_file.dat.conf").write_text(json.dumps(about))
    np.save(folder.with_name(f"{folder.name}_list.npy"), labels)
    return folder


def test_adaface_s_memfile_gives_the_bytes_back(tmp_path):
    packed = load_protocol(FORMATS / "toy")
    folder = write_memfile(tmp_path / "toy", np.asarray(packed.images), packed.is_genuine)
    protocol = load_protocol(folder)
    assert protocol.name == "toy"
    np.testing.assert_array_equal(np.asarray(protocol.images), np.asarray(packed.images))
    np.testing.assert_array_equal(protocol.is_genuine, packed.is_genuine)
    assert len(protocol.faces) == len(packed.faces)


def test_memfiles_that_do_not_fit(tmp_path):
    packed = load_protocol(FORMATS / "toy")
    folder = write_memfile(tmp_path / "toy", np.asarray(packed.images)[:4], packed.is_genuine[:3])
    with pytest.raises(InputError, match=r"mem_file.dat holds 4 images and 3 labels; needs two images per label"):
        load_protocol(folder)
    data = folder / "memfile" / "mem_file.dat"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"toy is not a complete memfile set \(.*\); copy it again"):
        load_protocol(folder)
    (tmp_path / "toy_list.npy").unlink()
    with pytest.raises(InputError, match=r"toy_list.npy does not exist; copy the set again, with NAME_list.npy beside"):
        load_protocol(folder)


def write_arrow(path, columns):
    table = pyarrow.table(columns)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
        return path
    path.mkdir()
    for part in range(2):  # as datasets saves a large set: in parts
        rows = table.slice(part * table.num_rows // 2, table.num_rows // 2)
        file = str(path / f"data-0000{part}-of-00002.arrow")
        with pyarrow.OSFile(file, "wb") as sink, pyarrow.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
    return path


@pytest.mark.parametrize("name", ["toy", "toy.parquet"])
def test_arrow_tables_of_cvlface_and_the_hub(tmp_path, name):
    files, labels = jpegs(8), [True, False, False, True]
    images = [{"bytes": one, "path": None} for one in files]
    if name == "toy":
        order = np.random.default_rng(0).permutation(8).tolist()
        columns = {"image": [images[i] for i in order], "index": order, "is_same": [labels[i // 2] for i in order]}
    else:
        columns = {"image1": images[0::2], "image2": images[1::2], "target": [int(label) for label in labels]}
    write_bin(tmp_path / "expected.bin", files, labels)
    protocol, expected = load_protocol(write_arrow(tmp_path / name, columns)), load_protocol(tmp_path / "expected.bin")
    assert protocol.name == "toy"
    np.testing.assert_array_equal(np.asarray(protocol.images), np.asarray(expected.images))
    np.testing.assert_array_equal(protocol.is_genuine, expected.is_genuine)


def test_arrow_tables_that_do_not_fit(tmp_path):
    images = jpegs(4)
    path = write_arrow(tmp_path / "a.parquet", {"image1": images, "image2": images})
    with pytest.raises(InputError, match=r"a.parquet has columns \['image1', 'image2'\]; needs image1, image2, target"):
        load_protocol(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"a.parquet is not a complete table \(.*\); fetch it again"):
        load_protocol(path)
    labels = {"index": range(4), "is_same": [True, True, True, False]}
    with pytest.raises(InputError, match=r"the rows of a pair have different labels; needs a0, b0, a1, b1"):
        load_protocol(write_arrow(tmp_path / "b", {"image": images} | labels))
    with pytest.raises(InputError, match=r"holds an image as str; needs the bytes of image files"):
        load_protocol(write_arrow(tmp_path / "c.parquet", {"image1": ["x"], "image2": ["y"], "target": [1]}))


def test_names():
    assert [load_protocol(FORMATS / layout).name for layout in LAYOUTS] == ["toy", "toy", "toy", "toy_numpy_payload"]


def test_red_stays_red(tmp_path):
    red = np.zeros((112, 112, 3), dtype=np.uint8)
    red[..., 0] = 200
    write_bin(tmp_path / "red.bin", [encode_jpeg(red)] * 2, [True])
    assert load_protocol(tmp_path / "red.bin").images[0].mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=3)


def test_bin_round_trip_and_shared_images_are_held_once(tmp_path):
    a, b, c = jpegs(3)
    write_bin(tmp_path / "set.bin", [a, b, a, c, b, c], [True, False, False])
    protocol = load_protocol(tmp_path / "set.bin")
    assert len(protocol.faces) == 3
    np.testing.assert_array_equal(protocol.pairs, [[0, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(protocol.is_genuine, [True, False, False])


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


def test_missing_images_are_all_listed(lfw):
    (lfw / "Ann" / "Ann_0002.png").unlink()
    (lfw / "Bob" / "Bob_0001.png").unlink()
    with pytest.raises(
        InputError, match=r"names 2 missing images \(of 4\): Ann/Ann_0002, Bob/Bob_0001; put them under"
    ):
        load_protocol(lfw)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Ann/Ann_0001 Ann/Ann_0001 1", "line 1: Ann/Ann_0001 is paired with itself"),
        ("Ann/Ann_0001 Bob/Bob_0001 0\n" * 2, "line 2: repeats the pair of line 1"),
        (
            "Ann/Ann_0001 Bob/Bob_0001 0\nBob/Bob_0001 Ann/Ann_0001 1",
            "line 2: repeats the pair of line 1 with the other label",
        ),
        ("Ann/Ann_0001 Bob/Bob_0001 2", "line 1 is 'Ann/Ann_0001 Bob/Bob_0001 2'; needs 'pathA pathB 0|1'"),
        ("10\t300\nAnn\t1\t2", "holds 1 pairs, but its first line says 10 folds of 300 genuine and 300 impostor"),
        ("1\t1\nAnn\t1\t2\nAnn\tone\tBob\t1", "line 3 is 'Ann one Bob 1'; needs 'name i j' or 'name1 i name2 j'"),
        ("", "is empty; needs lines"),
    ],
)
def test_wrong_pairs_files(lfw, lines, message):
    (lfw / "pairs.txt").write_text(lines)
    with pytest.raises(InputError) as error:
        load_protocol(lfw)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


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
    with pytest.raises(InputError, match=r"evil.bin holds (posix|nt).system, which a verification set does not need"):
        load_protocol(tmp_path / "evil.bin")
    assert not marker.exists()


def test_a_harmless_looking_detour_is_refused_too(tmp_path):
    """``getattr`` and friends rebuild anything from allowed parts: only the exact names of the list pass."""
    for attack in (b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"c_codecs\ndecode\n(S'x'\ntR."):
        (tmp_path / "evil.bin").write_bytes(attack)
        with pytest.raises(InputError, match="which a verification set does not need and which may run code"):
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
    with pytest.raises(InputError, match=r"toy.npy is not a complete .npy"):
        load_protocol(folder / "toy.npy")
