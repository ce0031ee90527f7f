"""Opening a dataset: names to leave out, masks, and paths that hold no dataset."""

import os

import numpy as np
import pytest

from bench.errors import InputError
from bench.faces.face import encode_jpeg
from bench.faces.open import open_faces, read_names
from bench.runs.dataset import open_files
from generate.training.data import open_source_faces

NAMES = ("Ann Lee", "Bo_Kim", "Cy_Ray", "Di_Fox", "José")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / "faces" / name).mkdir(parents=True)
        (tmp_path / "faces" / name / "1.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    return tmp_path / "faces"


@pytest.fixture(params=["files", "prepare"])
def names_left(request, folder, tmp_path):
    """The names that are left when a list of these bytes is left out, by either caller."""

    def leave_out(data):
        path = tmp_path / "names.txt"
        path.write_bytes(data)
        if request.param == "files":
            return open_files(str(folder), None, str(path)).identity_names
        return open_source_faces(folder, leave_out=path).identity_names

    return leave_out


@pytest.mark.parametrize(
    ("data", "left_out"),
    [
        (b"Ann Lee\n", {"Ann Lee"}),
        (b"\xef\xbb\xbfBo_Kim\n", {"Bo_Kim"}),
        (b"Bo_Kim\r\nCy_Ray\r\n", {"Bo_Kim", "Cy_Ray"}),
        (b"Bo_Kim\n\n\nAnn Lee", {"Bo_Kim", "Ann Lee"}),
        ("José".encode(), {"José"}),
    ],
)
def test_one_name_a_line_is_left_out(names_left, data, left_out):
    assert names_left(data) == [name for name in NAMES if name not in left_out]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"Nobody\n", "1 of 1 names to leave out, such as 'Nobody', are no identity of .* names are like 'Ann Lee'"),
        (b"bo_kim\n", "such as 'bo_kim'"),
        (b"Ann Lee \nBo_Kim\n", "1 of 2 names to leave out, such as 'Ann Lee '"),
        (b"Ann\tLee\n", r"such as 'Ann\\tLee'"),
        (b"x" * 5000, "such as 'x{80}'"),
        ("Bo_Kim\n".encode("utf-16"), r"names\.txt is not UTF-8 text"),
        ("José\n".encode("latin-1"), r"names\.txt is not UTF-8 text"),
        (b"\n\n", r"names\.txt holds no name"),
    ],
)
def test_names_that_leave_nobody_out_are_refused(names_left, data, problem):
    with pytest.raises(InputError, match=problem):
        names_left(data)


def test_a_list_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a regular file"):
        read_names(tmp_path)


def save_damaged(path, header=b"{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999,), }"):
    path.write_bytes(b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(16))


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda path: path.write_bytes(b""), "is not a whole .npy"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{"), "is not a whole .npy"),
        (lambda path: save_damaged(path), "is not a whole .npy"),
        (lambda path: save_damaged(path, b"{'descr': (((((((('<i8'"), "is not a whole .npy"),
        (lambda path: save_damaged(path, b"{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }"), "mask|whole"),
        (lambda path: np.savez(path.open("wb"), a=np.arange(2)), r"is a \.npz, several arrays"),
        (lambda path: path.write_bytes(b"PK\x03\x04damaged"), "is not a whole .npy"),
        (lambda path: np.save(path, np.array([{}], dtype=object)), "is not a whole .npy"),
        (lambda path: np.save(path, np.array([], np.int64)), "holds no position"),
        (lambda path: np.save(path, np.array(3)), r"has shape \(\)"),
        (lambda path: np.save(path, np.array([[1]])), r"has shape \(1, 1\)"),
        (lambda path: np.save(path, np.array([True] * 5)), "type bool"),
        (lambda path: np.save(path, np.array([-1, 1])), r"spans -1\.\.1"),
        (lambda path: np.save(path, np.array([2**64 - 1], np.uint64)), "spans 18446744073709551615"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (lambda path: os.mkfifo(path), "is not a regular file"),
        (lambda path: None, "does not exist"),
    ],
)
def test_masks_that_are_none(folder, tmp_path, write, problem):
    write(tmp_path / "m.npy")
    with pytest.raises(InputError, match=rf"m\.npy.*{problem}|{problem}.*m\.npy"):
        open_faces(folder, tmp_path / "m.npy")


def test_paths_that_hold_no_dataset(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="fifo is neither a file nor a folder; give a face dataset"):
        open_faces(tmp_path / "fifo")
    with pytest.raises(InputError, match="does not exist; give an LMDB file"):
        open_faces(tmp_path / ("x" * 5000))
    for name in ("data.mdb", "train.rec", "x.tar"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="holds no image in any sub-folder"):
        open_faces(tmp_path / "empty")
