"""Rows that are read from a memory-mapped file are right, and do not stay in the memory of the process."""

import re
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from bench.vectors.rows import copy_rows


@pytest.fixture
def mapped(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float16, (32_768, 1024))  # 64 MiB
    array[:] = (np.arange(32_768) % 1000)[:, None]
    array.flush()
    del array
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "rows",
    [
        slice(5, 9),
        slice(40_000, 50_000),
        np.array([7, 3, -1]),
        np.array([], np.int64),
        np.arange(600).reshape(2, 300) * 50,
        np.arange(32_768) % 50 == 2,
    ],
)
def test_rows_are_copies(mapped, rows):
    for vectors in (mapped, np.array(mapped)):
        copied = copy_rows(vectors, rows)
        np.testing.assert_array_equal(copied, np.array(mapped)[rows])
        assert copied.dtype == np.float16 and copied.flags.writeable and not isinstance(copied, np.memmap)
        assert copy_rows(vectors, rows, np.float32).dtype == np.float32


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is counted as Linux does")
def test_what_was_read_does_not_stay_in_memory(mapped):
    process, total = psutil.Process(), 0.0
    before = process.memory_info().rss
    for start in range(0, len(mapped), 1024):
        total += float(copy_rows(mapped, slice(start, start + 1024))[:, 0].sum(dtype=np.float64))
        assert process.memory_info().rss - before < 20 << 20
    assert total == sum(number % 1000 for number in range(len(mapped)))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory is reset as Linux does")
def test_rows_from_all_over_a_file_do_not_map_the_whole_file(mapped):
    """The 4,096 rows are 8 MiB, every eighth row of 64 MiB, so that each page lies near one of them."""
    mapped[:: 1 << 14].max()  # NumPy loads what it needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _resident_peak()
    assert len(copy_rows(mapped, np.arange(0, 32_768, 8))) == 4096
    assert _resident_peak() - before < 30 << 20


def _resident_peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
