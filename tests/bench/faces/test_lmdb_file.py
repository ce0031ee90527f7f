"""The LMDB of the HSFace datasets read and written; masks and names to leave out; messages for broken files."""

import doctest
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest
from paths import FORMATS

from bench.errors import InputError
from bench.faces import lmdb_file
from bench.faces.face import decode_image, encode_jpeg
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces


def make_images(num, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, 112, 112, 3), dtype=np.uint8)


@pytest.fixture
def dataset(tmp_path):
    """Three identities, called 5, 7 and 9, with two faces each."""
    path = tmp_path / "faces.lmdb"
    with FaceWriter(path) as writer:
        for index, image in enumerate(make_images(6)):
            writer.write(encode_jpeg(image), [5, 5, 7, 7, 9, 9][index])
    return path


def change(path, key, value):
    """Overwrite, or with None delete, one record."""
    environment = lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        transaction.put(key, value) if value is not None else transaction.delete(key)
    environment.close()


def test_reads_the_official_layouts():
    faces = open_faces(FORMATS / "hsface_layout.lmdb")
    assert (len(faces), faces.num_identities) == (20, 5)
    assert faces.identity_ids.tolist() == np.repeat(range(5), 4).tolist()
    assert faces.image(0).shape == (112, 112, 3)
    with_features = open_faces(FORMATS / "vec2face_training_layout.lmdb")
    assert with_features.features(3).shape == (512,)
    assert with_features.encoded(3) == faces.encoded(3)


def test_a_mask_relabels_so_that_no_identity_is_empty(dataset, tmp_path):
    np.save(tmp_path / "mask.npy", np.array([4, 0, 1]))
    faces = open_faces(dataset, mask=tmp_path / "mask.npy")
    assert faces.identity_ids.tolist() == [1, 0, 0]
    assert faces.identity_names == ["5", "9"]
    assert faces.num_identities == 2
    assert faces.encoded(0) == open_faces(dataset).encoded(4)
    official = open_faces(FORMATS / "hsface_layout.lmdb", mask=FORMATS / "mask.npy")
    assert sorted(set(official.identity_ids.tolist())) == list(range(official.num_identities))


def test_round_trip_and_layout(dataset):
    faces = open_faces(dataset)
    assert faces.identity_names == ["5", "7", "9"]
    for index, image in enumerate(make_images(6)):
        assert faces.encoded(index) == encode_jpeg(image)
    encoded = faces.encoded(3)
    del faces  # LMDB lets a process open a file only once
    environment = lmdb.open(str(dataset), subdir=False, readonly=True, lock=False)
    with environment.begin() as transaction:
        assert msgpack.unpackb(transaction.get(b"__len__")) == 6
        assert msgpack.unpackb(transaction.get(b"__keys__")) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert msgpack.unpackb(transaction.get(b"__classnum__")) == 10
        assert msgpack.unpackb(transaction.get(b"3")) == [encoded, 7]


def test_features_round_trip(tmp_path):
    feature = np.arange(512, dtype=np.float32)
    with FaceWriter(tmp_path / "f.lmdb") as writer:
        writer.write(b"x" * 300, 0, feature)
        writer.write(b"y" * 70_000, 300, feature + 1)
    faces = open_faces(tmp_path / "f.lmdb")
    assert faces.identity_names == ["0", "300"]
    np.testing.assert_array_equal(faces.features(1), feature + 1)


def test_the_label_that_is_read_quickly_equals_that_of_unpacking():
    for label in (0, 127, 128, 255, 256, 65_535, 65_536, 2**31):
        for size in (1, 255, 256, 65_536):
            pair, triple = [b"i" * size, label], [b"i" * size, b"f" * 2176, label]
            for record in (pair, triple, [*triple, b"l" * size]):
                assert lmdb_file.quick_label(memoryview(msgpack.packb(record))) == label


def mapped_bytes(path):
    """Bytes of a file that are mapped into this process and resident."""
    total, is_of_path = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):  # the first line of a mapping
            is_of_path = str(path) in line
        elif is_of_path and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="smaps is Linux's")
def test_reading_labels_keeps_no_pages_of_the_file(tmp_path, monkeypatch):
    labels = np.arange(2000) // 3
    with FaceWriter(tmp_path / "faces.lmdb") as writer:
        for label in labels:
            writer.write(bytes(2000), int(label))
    most = []
    monkeypatch.setattr(lmdb_file, "_LABELS_PER_OPENING", 101)
    monkeypatch.setattr(lmdb_file, "quick_label", watch(lmdb_file.quick_label, most, tmp_path / "faces.lmdb"))
    faces = open_faces(tmp_path / "faces.lmdb")
    np.testing.assert_array_equal(faces.identity_ids, labels)
    assert 0 < max(most) < 0.7 * (tmp_path / "faces.lmdb").stat().st_size
    assert mapped_bytes(tmp_path / "faces.lmdb") == 0
    assert faces.encoded(1999) == bytes(2000)


def watch(function, most, path):
    """The function, which also appends the mapped bytes of the path at every hundredth call."""
    calls = iter(range(10**9))

    def watched(value):
        if next(calls) % 100 == 0:
            most.append(mapped_bytes(path))
        return function(value)

    return watched


def test_records_with_landmark_pictures_round_trip_and_are_read_as_faces(tmp_path):
    """The label of such a record is its third element, and the last element a picture."""
    pictures, feature = make_images(3), np.arange(16, dtype=np.float32)
    with FaceWriter(tmp_path / "l.lmdb") as writer:
        for index, picture in enumerate(pictures):
            writer.write(encode_jpeg(picture), 300 * index, feature + index, encode_jpeg(picture[:, ::-1]))
    faces = open_faces(tmp_path / "l.lmdb")
    assert faces.identity_names == ["0", "300", "600"]
    assert faces.encoded(1) == encode_jpeg(pictures[1])
    np.testing.assert_array_equal(faces.features(2), feature + 2)
    np.testing.assert_array_equal(faces.landmark_picture(1), decode_image(encode_jpeg(pictures[1][:, ::-1])))
    del faces
    change(tmp_path / "l.lmdb", b"1", msgpack.packb([b"i", b"f", b"l", 7]))
    with pytest.raises(InputError, match=r"key 1 holds list .*, not \[image file, identity\]; write it as"):
        open_faces(tmp_path / "l.lmdb")


def test_faces_without_landmark_pictures_say_so(tmp_path, dataset):
    with pytest.raises(InputError, match=r"no landmark pictures \(key 0 has 3 elements, not 4\); make a training set"):
        open_faces(FORMATS / "vec2face_training_layout.lmdb").landmark_picture(0)
    with pytest.raises(InputError, match=r"key 0 has 2 elements"):
        open_faces(dataset).landmark_picture(0)
    small = encode_jpeg(np.zeros((56, 56, 3), np.uint8))
    with FaceWriter(tmp_path / "s.lmdb") as writer:
        for identity_id in range(2):
            writer.write(b"x", identity_id, np.ones(4, np.float32), small)
    with pytest.raises(InputError, match=r"landmark picture of .* key 1 is 56 x 56 pixels; give pictures of 112 x 112"):
        open_faces(tmp_path / "s.lmdb").landmark_picture(1)


def test_the_map_grows_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_file, "_INITIAL_MAP_BYTES", 1 << 17)
    with FaceWriter(tmp_path / "big.lmdb", batch=10) as writer:
        for index in range(200):
            writer.write(bytes([index]) * 20_000, index)
    faces = open_faces(tmp_path / "big.lmdb")
    assert all(faces.encoded(index) == bytes([index]) * 20_000 for index in range(200))


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        with FaceWriter(tmp_path / name) as writer:
            for index, image in enumerate(make_images(20)):
                writer.write(encode_jpeg(image), index // 4)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), FaceWriter(tmp_path / "faces.lmdb") as writer:
        writer.write(b"x", 0)
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed_when_the_path_is_written_again(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = platform.node()
    names = [f".faces.lmdb.{host}.{ended.pid}.tmp", f".faces.lmdb.{host}.{os.getppid()}.tmp", ".faces.lmdb.far.1.tmp"]
    for name in names:
        (tmp_path / name).touch()
    with FaceWriter(tmp_path / "faces.lmdb") as writer:
        writer.write(b"x", 0)
    assert {path.name for path in tmp_path.iterdir()} == {"faces.lmdb", *names[1:]}


def test_survives_pickling_into_a_worker(dataset):
    faces = open_faces(dataset)
    assert pickle.loads(pickle.dumps(faces)).encoded(2) == faces.encoded(2)


def test_survives_a_fork_and_a_second_dataset_on_one_file(dataset):
    faces, again = open_faces(dataset), open_faces(dataset)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if faces.encoded(2) == again.encoded(2) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert faces.encoded(2) == again.encoded(2)


def test_a_folder_by_identity(tmp_path):
    for name in ("ann", "bob", "cyd"):
        (tmp_path / name / "profile").mkdir(parents=True)
        (tmp_path / name / "2.jpg").write_bytes(encode_jpeg(make_images(1)[0]))
        (tmp_path / name / "profile" / "1.JPEG").write_bytes(encode_jpeg(make_images(1)[0]))
        (tmp_path / name / "notes.txt").write_text("no image")
    faces = open_faces(tmp_path)
    assert (len(faces), faces.identity_names) == (6, ["ann", "bob", "cyd"])
    fewer = open_faces(tmp_path, leave_out={"bob"})
    assert (len(fewer), fewer.identity_names, fewer.identity_ids.max()) == (4, ["ann", "cyd"], 1)


def test_one_identity_is_refused(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.jpg").write_bytes(encode_jpeg(make_images(1)[0]))
    with pytest.raises(InputError, match=r"holds 1 identity; recognition needs at least 2"):
        open_faces(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no image in any sub-folder"):
        open_faces(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.lmdb does not exist; give an LMDB file"):
        open_faces(tmp_path / "gone.lmdb")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_an_lmdb_cut_short_is_refused_before_it_kills_the_process(dataset, share):
    whole = dataset.read_bytes()
    dataset.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"faces\.lmdb.*(is cut short|is not a whole LMDB).*again"):
        open_faces(dataset)


def test_a_missing_key_is_named(dataset):
    change(dataset, b"3", None)
    with pytest.raises(InputError, match=r"has no key 3; write or fetch it again, or mask it out"):
        open_faces(dataset)


def test_a_missing_length_is_named(dataset):
    change(dataset, b"__len__", None)
    with pytest.raises(InputError, match=r"has no key __len__"):
        open_faces(dataset)


def test_a_record_that_does_not_decode_is_named(dataset):
    change(dataset, b"3", msgpack.packb([open_faces(dataset).encoded(3)[:500], 7]))
    with pytest.raises(InputError, match=r"faces\.lmdb key 3 does not decode \(500 bytes starting ffd8"):
        open_faces(dataset).image(3)
    with pytest.raises(InputError, match=r"face 9 does not decode \(7 bytes"):
        decode_image(b"nothing", "face 9")


def test_a_file_that_is_not_an_lmdb_is_refused(tmp_path):
    (tmp_path / "x.lmdb").write_bytes(b"hello" * 5000)
    with pytest.raises(InputError, match=r"x\.lmdb \(25000 bytes\) is not a whole LMDB"):
        open_faces(tmp_path / "x.lmdb")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.array([0, 6]), r"spans 0\.\.6, but the positions are 0\.\.5"),
        (np.array([0.5]), r"give integers of shape \(M,\)"),
    ],
)
def test_a_mask_that_does_not_fit(dataset, tmp_path, mask, message):
    np.save(tmp_path / "m.npy", mask)
    with pytest.raises(InputError, match=message):
        open_faces(dataset, mask=tmp_path / "m.npy")


def test_reads_a_folder_lmdb(dataset, tmp_path):
    (tmp_path / "d").mkdir()
    shutil.copy(dataset, tmp_path / "d" / "data.mdb")
    assert len(open_faces(tmp_path / "d")) == 6


def test_the_example_of_open_faces(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (example,) = doctest.DocTestFinder().find(open_faces, globs={})
    result = doctest.DocTestRunner().run(example)
    assert result.attempted > 5 and result.failed == 0


def foreign(path, records, length):
    """An LMDB as another tool may write it: values by position, and that of ``__len__``."""
    options = {"subdir": False, "map_size": 1 << 24, "lock": False}
    with lmdb.open(str(path), **options) as environment, environment.begin(write=True) as transaction:
        for position, record in enumerate(records):
            transaction.put(str(position).encode(), record)
        transaction.put(b"__len__", length)
    return path


JPEG = encode_jpeg(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (lambda label: [JPEG, f"n{label:05d}"], r"key 0 has identity bytes b'n00000', not a number"),
        (lambda label: [JPEG, None], "key 0 has identity None"),
        (lambda label: [JPEG, True], "key 0 has identity True"),
        (lambda label: [JPEG, {"nd": False, "type": "<i8", "data": bytes(8)}], "key 0 has identity dict {b'nd'"),
        (lambda label: [JPEG, 2**63 + label], "key 0 has identity 9223372036854775808"),
        (lambda label: [JPEG, label + 0.5], r"key 0 has identity 0\.5"),
        (lambda label: [JPEG, float("nan")], "key 0 has identity nan"),
        (lambda label: [label, JPEG], "key 0 starts with 0, not with an image file"),
        (lambda label: {"image": JPEG, "label": label}, r"key 0 holds dict .*, not \[image file, identity\]"),
        (lambda label: [JPEG], r"key 0 holds list \[b'.*, not \[image file, identity\]"),
        (lambda label: [JPEG, label, label, label], "key 0 holds list"),
        (lambda label: [JPEG, [1, 2], label], r"key 0 holds .*|key 0 starts with"),
        (lambda label: label, "key 0 holds 0"),
        (lambda label: [], r"key 0 holds list \[\]"),
    ],
)
def test_records_of_other_tools_are_refused_by_key(tmp_path, record, problem):
    path = foreign(tmp_path / "f.lmdb", [msgpack.packb(record(i // 2)) for i in range(4)], msgpack.packb(4))
    with pytest.raises(InputError, match=rf"f\.lmdb {problem}.*; write it as .*bench convert does"):
        open_faces(path)


@pytest.mark.parametrize(
    ("length", "problem"),
    [
        (pickle.dumps(4), "key __len__ is not msgpack .* it starts 8004"),
        (b"12", r"key __len__ is not msgpack .* it starts 3132"),
        (b"", "key __len__ is not msgpack"),
        (b"\x91" * 5000, "key __len__ is not msgpack"),
        (msgpack.packb(10**15), "has __len__ 1000000000000000, but holds 5 entries"),
        (msgpack.packb(-4), "has __len__ -4, not a positive number"),
        (msgpack.packb(4.0), r"has __len__ 4\.0, not a positive number"),
        (msgpack.packb(True), "has __len__ True, not a positive number"),
        (msgpack.packb({"n": 4}), "has __len__ dict"),
    ],
)
def test_other_lengths_are_refused(tmp_path, length, problem):
    path = foreign(tmp_path / "f.lmdb", [msgpack.packb([JPEG, i // 2]) for i in range(4)], length)
    with pytest.raises(InputError, match=rf"f\.lmdb {problem}"):
        open_faces(path)


@pytest.mark.parametrize("options", [{"use_bin_type": False}, {}])
@pytest.mark.parametrize("label", [int, float])
def test_old_msgpack_and_whole_floats_are_read(tmp_path, options, label):
    records = [msgpack.packb([JPEG, label(7 * (i // 2))], **options) for i in range(4)]
    faces = open_faces(foreign(tmp_path / "f.lmdb", records, msgpack.packb(4)))
    assert (faces.identity_names, faces.encoded(3)) == (["0", "7"], JPEG)


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        (b"", "damaged feature"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "damaged feature"),
        (b"PK\x05\x06" + bytes(18), "float"),
    ],
)
def test_damaged_features_are_refused_by_key(tmp_path, feature, problem):
    path = foreign(tmp_path / "f.lmdb", [msgpack.packb([JPEG, feature, i]) for i in range(2)], msgpack.packb(2))
    with pytest.raises(InputError, match=rf"f\.lmdb key 1 has a .*{problem}.*; fetch it again"):
        open_faces(path).features(1)


@pytest.mark.parametrize(("offset", "value"), [(16, b"\0"), (40, b"\0\0\0\0"), (40, b"\1\0\0\0"), (4096 + 16, b"\7")])
def test_a_damaged_header_is_refused_before_it_kills_the_process(dataset, offset, value):
    data = bytearray(dataset.read_bytes())
    data[offset : offset + len(value)] = value
    dataset.write_bytes(data)
    with pytest.raises(InputError, match=r"faces\.lmdb \(\d+ bytes\) is not a whole LMDB: its header is damaged"):
        open_faces(dataset)
