"""Arrow tables of CVLface and of the Hub read like the same set as a ``.bin``; broken ones get a one-line message."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from verification_images import jpegs

from bench.errors import InputError
from evaluate.layouts.packed import write_bin
from evaluate.protocol import load_protocol


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


@pytest.mark.slow
def test_tables_that_unpack_to_far_more_than_they_hold(tmp_path):
    column = pyarrow.array([bytes(2**20)] * 2000).dictionary_encode()
    path = write_arrow(tmp_path / "a.parquet", {"image1": column, "image2": column, "target": [0, 1] * 1000})
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match=r"a.parquet unpacks to far more bytes than images would"):
        load_protocol(path)


@pytest.mark.parametrize("index", [[0, 1, 1, 2], [0, None, 1, 2], [0.5, 1, 2, 3], ["a", "b", "c", "d"]])
def test_rows_that_have_no_order(tmp_path, index):
    path = write_arrow(tmp_path / "a", {"image": jpegs(4), "index": index, "is_same": [1, 1, 0, 0]})
    with pytest.raises(InputError, match="column index does not number the rows"):
        load_protocol(path)


def test_offsets_that_point_outside_are_refused(tmp_path):
    path = write_arrow(tmp_path / "a", {"image": jpegs(4), "index": range(4), "is_same": [1, 1, 0, 0]})
    for part in path.glob("*.arrow"):
        content = part.read_bytes()
        part.write_bytes(content.replace(np.int32(len(jpegs(4)[0])).tobytes(), np.int32(2**30).tobytes()))
    with pytest.raises(InputError, match="a is not a complete table"):
        load_protocol(path)
