"""Files appear whole or not at all, with the permissions of the umask."""

import os

import numpy as np
import pytest

from bench.files import atomic_path, flatten, write_array, write_text


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
