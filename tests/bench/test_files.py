"""Files appear whole or not at all, with the permissions of the umask."""

import errno
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.errors import InputError
from bench.files import (
    append_text,
    atomic_path,
    flatten,
    is_hidden,
    read_json_lines,
    read_text,
    remove_abandoned,
    write_array,
    write_text,
)


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


def temporary(folder, name, machine, process):
    path = folder / f".{name}.{machine}.{process}.tmp"
    path.write_text("half")
    return path


@pytest.fixture
def zombie():
    """Number of a process that has ended, and whose parent has not asked for its status."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    while "Z" not in (line := open(f"/proc/{child.pid}/stat").read()).rpartition(")")[2][:3]:  # noqa: PTH123, SIM115
        assert line
        time.sleep(0.01)
    yield child.pid
    child.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_temporary_files_of_killed_processes_go(tmp_path, zombie):
    here = platform.node()
    own, of_zombie, foreign = (
        temporary(tmp_path, "a.b", *writer) for writer in ((here, os.getpid()), (here, zombie), ("other.net", 1))
    )
    of_reused_number = temporary(tmp_path, "c", here, os.getpid())
    os.utime(of_reused_number, (0, 0))  # written before this process started
    not_ours = tmp_path / ".notes.tmp"
    not_ours.write_text("mine")
    write_text(tmp_path / "a.b", "whole")
    assert not of_zombie.exists()
    assert of_reused_number.exists()  # of another file
    own.write_text("half")
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.glob(".*")) == sorted([own, foreign, not_ours])
    remove_abandoned(tmp_path, also_of_other_machines=True)
    assert sorted(tmp_path.glob(".*")) == sorted([own, not_ours])


def write_with_numpy(path):
    np.savez(path.open("wb"), np.zeros(4 << 20, np.uint8))


def write_with_torch(path):
    import torch

    torch.save(torch.zeros(1 << 20), path)


def write_with_safetensors(path):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1 << 20)}, path)


def write_with_pillow(path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)).save(path, format="PNG")


WRITERS = [write_with_numpy, write_with_torch, write_with_safetensors, write_with_pillow]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_full_disk_is_named_whichever_library_writes(small_disk, write):
    with pytest.raises(OSError, match=r"No space left on device: '.*target'") as raised, target(small_disk) as path:
        write(path)
    assert raised.value.errno == errno.ENOSPC
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_file_that_is_too_large_is_named_whichever_library_writes(tmp_path, write):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised, target(tmp_path) as path:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


def target(folder):
    return atomic_path(folder / "target")


def test_a_full_disk_is_named_where_a_line_is_appended():
    with pytest.raises(OSError, match="/dev/full") as caught:
        append_text(Path("/dev/full"), "line\n")
    assert caught.value.errno == errno.ENOSPC


def test_a_disk_that_takes_data_changes_no_error(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), target(tmp_path):
        raise RuntimeError("a bug")
    with pytest.raises(FileNotFoundError), target(tmp_path):
        (tmp_path / "gone").read_text()


def test_lines_behind_a_broken_one_are_left_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"step": 1}\n{"step": 2}\n[1]\n{"step": 3}\n\xff\x00')
    assert read_json_lines(tmp_path / "a.jsonl") == [{"step": 1}, {"step": 2}]
    (tmp_path / "a.jsonl").write_bytes(b'{"step": 1}\n\xff\xfe{"st')
    assert read_json_lines(tmp_path / "a.jsonl") == [{"step": 1}]


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
