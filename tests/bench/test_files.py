"""Files appear whole or not at all, and readable by whom the umask says."""

import os

import numpy as np
import pytest

from bench.errors import InputError
from bench.files import atomic_path, flatten, is_hidden, read_text, write_array, write_text


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_decides_who_may_read(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with atomic_path(tmp_path / "private") as temporary:  # as safetensors writes
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
        write_text(tmp_path / "plain", "text")
    finally:
        assert os.umask(before) == mask
    for name in ("private", "plain"):
        assert (tmp_path / name).stat().st_mode & 0o777 == mode


def test_an_error_leaves_nothing_and_an_older_file_stays(tmp_path):
    write_text(tmp_path / "kept", "before")
    for name in ("kept", "new"):
        with pytest.raises(RuntimeError), atomic_path(tmp_path / name) as temporary:
            temporary.write_text("half")
            raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "before")]


def test_nested_dictionaries_are_flattened():
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}


def test_arrays_are_read_back_and_python_objects_are_refused(tmp_path):
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_array(tmp_path / "new" / "a.npy", array)
    assert np.array_equal(np.load(tmp_path / "new" / "a.npy"), array)
    with pytest.raises(ValueError, match="Object arrays"):
        write_array(tmp_path / "b.npy", np.array([{}], dtype=object))
    assert not (tmp_path / "b.npy").exists()


@pytest.mark.parametrize("data", [b"a b\nc", b"\xef\xbb\xbfa b\nc", b"a b\r\nc"])
def test_text_is_read_without_byte_order_mark_and_carriage_returns(tmp_path, data):
    (tmp_path / "t.txt").write_bytes(data)
    assert read_text(tmp_path / "t.txt") == "a b\nc"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_text_of_another_encoding_is_refused_by_name(tmp_path, encoding):
    (tmp_path / "t.txt").write_bytes("José\nÀ\n".encode(encoding))
    with pytest.raises(InputError, match=r"t\.txt .*save it as UTF-8"):
        read_text(tmp_path / "t.txt")


def test_what_is_no_text_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, problem in (("none", "missing"), (".", "not a regular file"), ("fifo", "not a regular file")):
        with pytest.raises(InputError, match=problem):
            read_text(tmp_path / name)


def test_names_of_systems_and_tools_are_hidden():
    names = ["._0.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "0.jpg", "_p0", "p.0", "@b"]
    assert [name for name in names if not is_hidden(name)] == ["0.jpg", "_p0", "p.0", "@b"]
