"""Damaged face datasets of every layout: whatever stands in a file, only InputError comes out, within a second.

Good files are cut, changed in some bytes, or spliced. liblmdb may crash on damaged pages, which no Python code can
catch, so LMDB is read in a child process.
"""

import io
import pickle
import resource
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from fuzzing import MAX_KILOBYTES, MAX_SECONDS, WORDS, fuzzed, mutate, mutations
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from PIL import Image

from bench.errors import InputError
from bench.faces.face import decode_image, encode_jpeg, image_size
from bench.faces.lmdb_file import FaceWriter
from bench.faces.open import open_faces, read_names
from bench.faces.recordio import RecordWriter
from bench.faces.webdataset import ShardWriter
from bench.files import read_array

pytestmark = pytest.mark.slow

PAGE_BYTES = 4096
NOISE = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
SIZES = (("B", 2**8 - 1), ("H", 2**16 - 1), ("I", 2**32 - 1), ("Q", 2**64 - 1))
NUMBERS = [struct.pack(f"<{size}", word & mask) for word in WORDS for size, mask in SIZES]
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")


def read_all(open_it):
    """Open a dataset and read every face; returns the number of faces that were good."""
    start, num_good = time.process_time(), 0
    try:
        faces = open_it()
        for index in range(min(len(faces), 50)):
            try:
                faces.image(index)
                num_good += 1
            except InputError:
                pass
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 2000
    assert time.process_time() - start < MAX_SECONDS
    return num_good


def write_faces(writer):
    with writer:
        for index in range(6):
            writer.write(encode_jpeg(NOISE[: 8 + index]), index // 2)


@pytest.fixture(scope="module", autouse=True)
def _memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_KILOBYTES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def files(folder):
    """Name -> bytes of a good file."""
    write_faces(RecordWriter(folder / "rec"))
    write_faces(ShardWriter(folder / "shards"))
    np.save(folder / "mask.npy", np.arange(6))
    good = {
        "rec": folder / "rec" / "train.rec",
        "idx": folder / "rec" / "train.idx",
        "tar": folder / "shards" / "faces-000000.tar",
        "npy": folder / "mask.npy",
    }
    return {name: path.read_bytes() for name, path in good.items()}


@pytest.mark.parametrize("format", FORMATS)
@fuzzed(150)
@given(edits=mutations(NUMBERS))
def test_images(format, edits):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if format in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    Image.fromarray(NOISE).save(buffer, format, **options)
    data = mutate(buffer.getvalue(), edits)
    for read in (decode_image, image_size):
        start = time.process_time()
        try:
            read(data, "x")
        except InputError as error:
            assert str(error).startswith("x does not decode")
        assert time.process_time() - start < MAX_SECONDS


@pytest.mark.parametrize("damaged", ["rec", "idx"])
@fuzzed(300)
@given(edits=mutations(NUMBERS))
def test_recordio(folder, files, damaged, edits):
    for name in ("rec", "idx"):
        data = mutate(files[name], edits) if name == damaged else files[name]
        (folder / f"x.{name}").write_bytes(data)
    read_all(lambda: open_faces(folder / "x.rec"))


@fuzzed(400)
@given(edits=mutations(NUMBERS))
def test_shards(folder, files, edits):
    (folder / "x.tar").write_bytes(mutate(files["tar"], edits))
    read_all(lambda: open_faces(folder / "x.tar"))


@fuzzed(300)
@given(edits=mutations(NUMBERS))
def test_masks_and_arrays(folder, files, edits):
    (folder / "x.npy").write_bytes(mutate(files["npy"], edits))
    start = time.process_time()
    try:
        read_array(folder / "x.npy")
    except InputError as error:
        assert "x.npy" in str(error)
    read_all(lambda: open_faces(folder / "rec", folder / "x.npy"))
    assert time.process_time() - start < MAX_SECONDS


@fuzzed(200)
@given(data=st.binary(max_size=200))
def test_names_to_leave_out(folder, data):
    (folder / "names.txt").write_bytes(data)
    read_all(lambda: open_faces(folder / "rec", leave_out=read_names(folder / "names.txt")))


@fuzzed(200)
@given(
    record=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=2),
    )
)
def test_records_of_an_lmdb(folder, record):
    import lmdb
    import msgpack

    path = folder / "records.lmdb"
    path.unlink(missing_ok=True)
    options = {"subdir": False, "map_size": 1 << 20, "lock": False, "sync": False}
    with lmdb.open(str(path), **options) as environment, environment.begin(write=True) as transaction:
        for key, value in ((b"0", record), (b"1", [b"x", 1]), (b"__len__", 2)):
            transaction.put(key, msgpack.packb(value))
    read_all(lambda: open_faces(path))


def test_damaged_pages_of_an_lmdb(folder):
    """Each damaged copy is read by a child; a crash of liblmdb ends that child, and the next goes on behind it."""
    write_faces(FaceWriter(folder / "good.lmdb"))
    data = (folder / "good.lmdb").read_bytes()
    cases = []

    pages = st.integers(0, len(data) // PAGE_BYTES - 1)
    words = st.tuples(pages, st.integers(0, 40) | st.integers(0, PAGE_BYTES - 3), st.binary(min_size=2, max_size=2))

    @fuzzed(400)
    @given(edits=mutations(NUMBERS) | st.lists(words, min_size=1, max_size=4))
    def collect(edits):
        if isinstance(edits[0][0], int):  # words in the headers of pages, which liblmdb trusts
            edits = [("set", page * PAGE_BYTES + offset, word) for page, offset, word in edits]
        cases.append(mutate(data, edits))

    collect()
    (folder / "cases.pickle").write_bytes(pickle.dumps(cases))
    done, num_crashes = 0, 0
    while done < len(cases):
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder), str(done)], cwd=ROOT, capture_output=True, text=True
        )
        done += child.stdout.count("\n")
        assert "Traceback" not in child.stderr, child.stderr
        if child.returncode:
            done, num_crashes = done + 1, num_crashes + 1
    assert num_crashes <= len(cases) // 10, f"{num_crashes} of {len(cases)} damaged files crashed liblmdb"


CHILD = """
import pickle, sys, time
from pathlib import Path
from bench.errors import InputError
from bench.faces.open import open_faces

folder, start = Path(sys.argv[1]), int(sys.argv[2])
for number, data in enumerate(pickle.loads((folder / "cases.pickle").read_bytes())[start:], start):
    path = folder / f"{number}.lmdb"
    path.write_bytes(data)
    begin = time.process_time()
    try:
        faces = open_faces(path)
        for index in range(min(len(faces), 50)):
            try:
                faces.image(index)
            except InputError:
                pass
    except InputError:
        pass
    assert time.process_time() - begin < 1, (number, time.process_time() - begin)
    path.unlink()
    print(number, flush=True)
"""
