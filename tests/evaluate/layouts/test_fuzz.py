"""Damaged test sets of every layout: whatever stands in a file, only InputError comes out, within a second.

Good files are cut, changed in some bytes, or spliced. Each reader gets its share of about a minute.
"""

import contextlib
import io
import json
import lzma
import pickle
import resource
import shutil
import struct
import time
import warnings

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from fuzzing import MAX_KILOBYTES, MAX_SECONDS, WORDS, fuzzed, mutate, mutations
from hypothesis import given
from leaderboard_rows import made_up_verification
from paths import FORMATS
from results import make_result
from verification_images import jpegs, write_folder

from bench.errors import InputError
from bench.faces.alignment.landmarks import read_landmarks
from bench.faces.face import ARCFACE_TEMPLATE
from bench.runs.cards import ResultCard, read_card, write_card
from evaluate.layouts.ijb.templates import load_templates
from evaluate.measure.checks import contradictions
from evaluate.measure.scores import read_scores, write_scores
from evaluate.protocol import load_protocol

pytestmark = pytest.mark.slow

NUMBERS = [struct.pack("<Q", word)[:size] for word in WORDS for size in (1, 2, 4, 8)]
TEXTS = [*b"-1 1e999 nan \xc2\xb2 \x00 ../ \xc3".split(), b"\t", b"\n", b"9" * 30, b"x" * 5000]


def check(read, path):
    """Only InputError, of one line, within a second of this process and 500 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with warnings.catch_warnings(), contextlib.suppress(InputError):
        warnings.simplefilter("ignore")
        try:
            read(path)
        except InputError as error:
            assert len(str(error)) <= 2000
            raise
    assert time.process_time() - start < MAX_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_KILOBYTES


def read_set(path):
    protocol = load_protocol(path)
    np.asarray(protocol.images[:4])
    assert len(protocol.pairs) == len(protocol.is_genuine) > 0


def fuzz(read, path, file, edits):
    """Read ``path`` with its ``file`` changed, and put the file back."""
    good = file.read_bytes()
    try:
        file.write_bytes(mutate(good, edits))
        check(read, path)
    finally:
        file.write_bytes(good)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A small set in each layout."""
    folder = tmp_path_factory.mktemp("sets")
    files, labels = jpegs(8), [True, False, False, True]
    for name, protocol in (("p2.bin", 2), ("p4.bin", 4)):
        (folder / name).write_bytes(pickle.dumps((files, labels), protocol=protocol))
    arrays = [np.frombuffer(file, np.uint8) for file in files]
    (folder / "arrays.bin").write_bytes(pickle.dumps((arrays, np.array(labels)), protocol=2))
    (folder / "set.xz").write_bytes(lzma.compress((folder / "p4.bin").read_bytes()))
    shutil.copytree(FORMATS / "toy", folder / "toy")
    images = np.load(folder / "toy" / "toy.npy")[:4]
    np.save(folder / "toy" / "toy.npy", images)
    (folder / "toy" / "issame.txt").write_text("1\n0\n")
    (folder / "mem" / "memfile").mkdir(parents=True)
    (folder / "mem" / "memfile" / "mem_file.dat").write_bytes((images / 127.5 - 1).astype(np.float32).tobytes())
    (folder / "mem" / "memfile" / "mem_file.dat.conf").write_text(
        json.dumps({"shape": images.shape, "dtype": "float32"})
    )
    np.save(folder / "mem_list.npy", np.array([True, False]))
    columns = {"image1": files[0::2], "image2": files[1::2], "target": labels}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "set.parquet")
    (folder / "arrow").mkdir()
    table = pyarrow.table({"image": files, "index": range(8), "is_same": np.repeat(labels, 2)})
    for name, options in (("data-0.arrow", None), ("compressed.arrow", pyarrow.ipc.IpcWriteOptions(compression="lz4"))):
        sink = io.BytesIO()
        with pyarrow.ipc.new_stream(sink, table.schema, options=options) as stream:
            stream.write_table(table)
        (folder / "arrow" / name).write_bytes(sink.getvalue())
    names = [f"{person}/{person}_000{i}.png" for person in "AB" for i in (1, 2)]
    write_folder(folder / "lfw", names)
    (folder / "lfw" / "pairs.txt").write_text("1\t2\nA\t1\t2\nB\t1\t2\nA\t1\tB\t1\nA\t2\tB\t2\n")
    return folder


@pytest.mark.parametrize("name", ["p2.bin", "p4.bin", "arrays.bin", "set.xz", "set.parquet"])
@fuzzed(200)
@given(edits=mutations(NUMBERS, TEXTS))
def test_packed_files(sets, name, edits):
    fuzz(read_set, sets / name, sets / name, edits)


@fuzzed(200)
@given(edits=mutations(NUMBERS, TEXTS))
def test_pickles_behind_xz(sets, edits):
    path = sets / "inner.xz"
    path.write_bytes(lzma.compress(mutate((sets / "p2.bin").read_bytes(), edits), preset=0))
    check(read_set, path)


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("toy", "toy/toy.npy"),
        ("toy", "toy/issame.txt"),
        ("mem", "mem/memfile/mem_file.dat"),
        ("mem", "mem/memfile/mem_file.dat.conf"),
        ("mem", "mem_list.npy"),
        ("arrow", "arrow/data-0.arrow"),
        ("lfw", "lfw/pairs.txt"),
        ("lfw", "lfw/A/A_0001.png"),
    ],
)
@fuzzed(150)
@given(edits=mutations(NUMBERS, TEXTS))
def test_folders(sets, folder, file, edits):
    fuzz(read_set, sets / folder, sets / file, edits)


@fuzzed(150)
@given(edits=mutations(NUMBERS, TEXTS))
def test_compressed_arrow(sets, edits):
    (sets / "lz4").mkdir(exist_ok=True)
    (sets / "lz4" / "data-0.arrow").write_bytes(mutate((sets / "arrow" / "compressed.arrow").read_bytes(), edits))
    check(read_set, sets / "lz4")


LINES = {
    "generic": "A/A_0001.png B/B_0001.png 0\nA/A_0001.png A/A_0002.png 1\n",
    "RFW": "A\t1\t2\nA\t1\tB\t1\n",
    "CALFW": "A/A_0001 1\nA/A_0002 1\nA/A_0001 0\nB/B_0001 0\n",
}


@pytest.mark.parametrize("layout", list(LINES))
@fuzzed(150)
@given(edits=mutations(NUMBERS, TEXTS))
def test_pairs_files(sets, layout, edits):
    path = sets / "lfw" / "list.txt"
    path.write_bytes(mutate(LINES[layout].encode(), edits))
    check(read_set, path)


@pytest.mark.parametrize("suffix", ["", " 0.99"])
@fuzzed(150)
@given(edits=mutations(NUMBERS, TEXTS))
def test_landmarks(sets, suffix, edits):
    numbers = " ".join(map(str, ARCFACE_TEMPLATE.ravel()))
    good = "".join(f"{i}.jpg {numbers}{suffix}\n" for i in range(4)).encode()
    (sets / "lmk.txt").write_bytes(mutate(good, edits))
    check(read_landmarks, sets / "lmk.txt")


@pytest.fixture(scope="module")
def ijb(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("ijb"), [f"loose_crop/{i}.png" for i in range(1, 5)])
    (folder / "meta").mkdir()
    numbers = " ".join(map(str, ARCFACE_TEMPLATE.ravel()))
    texts = {
        "face_tid_mid": "".join(f"{i}.png {10 * i} {i}\n" for i in range(1, 5)),
        "name_5pts_score": "".join(f"{i}.png {numbers} 0.9\n" for i in range(1, 5)),
        "template_pair_label": "10 20 1\n10 30 0\n20 40 0\n",
    }
    for ending, text in texts.items():
        (folder / "meta" / f"ijbb_{ending}.txt").write_text(text)
    return folder


def read_template_set(path):
    templates = load_templates(path)
    np.asarray(templates.faces[:2])
    assert templates.num_templates > 0


@pytest.mark.parametrize("ending", ["face_tid_mid", "name_5pts_score", "template_pair_label"])
@fuzzed(150)
@given(edits=mutations(NUMBERS, TEXTS))
def test_lists_of_ijb(ijb, ending, edits):
    fuzz(read_template_set, ijb, ijb / "meta" / f"ijbb_{ending}.txt", edits)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("result")
    write_card(folder, make_result(protocols=("lfw",)))
    write_scores(folder / "scores.npz", {"lfw": made_up_verification(0.875).arrays})
    return folder


def read_result(folder):
    contradictions(read_card(folder, ResultCard), read_scores(folder / "scores.npz"))


@pytest.mark.parametrize("file", ["result.json", "scores.npz"])
@fuzzed(150)
@given(edits=mutations(NUMBERS, TEXTS))
def test_results(result, file, edits):
    fuzz(read_result, result, result / file, edits)
