"""Random numbers of the device of a process, and of no other; freed memory is kept for as long as a block runs."""

import subprocess
import sys
import warnings

import pytest
import torch
from paths import ROOT

from bench.machine import device as device_module
from bench.machine.device import forked_rng, freed_memory_kept, keep_freed_memory


@pytest.fixture
def four_gpus(monkeypatch):
    """A machine of four GPUs; the GPUs whose state is read."""
    read = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: read.append(str(device)))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    return read


@pytest.mark.parametrize(("device", "expected"), [("cpu", []), ("cuda:2", ["cuda:2"])])
def test_only_the_state_of_the_own_device_is_read_and_the_cpu_goes_on_as_before(four_gpus, device, expected):
    before = torch.get_rng_state()
    with warnings.catch_warnings(action="error"), forked_rng(torch.device(device)):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert four_gpus == expected


KEEP = [("mallopt", -3, 2**30), ("mallopt", -1, 2**31 - 1)]
RETURN = [("mallopt", -3, 2**25), ("mallopt", -1, 2**26), ("malloc_trim", 0)]


@pytest.fixture
def libc_calls(monkeypatch):
    """Calls of the C library; no memory is kept before the test."""
    calls = []
    monkeypatch.setattr(device_module, "_is_kept_for_good", False)
    monkeypatch.setattr(device_module, "_num_blocks", 0)
    monkeypatch.setattr(device_module, "_call_libc", lambda function, *arguments: calls.append((function, *arguments)))
    return calls


def test_freed_memory_is_kept_for_a_block_and_then_returned(libc_calls):
    with freed_memory_kept("cpu"):
        assert libc_calls == KEEP
        with freed_memory_kept("cpu"):
            pass
        assert libc_calls == 2 * KEEP
    with freed_memory_kept("cuda:0"):
        pass
    assert libc_calls == 2 * KEEP + RETURN


def test_memory_is_kept_until_the_last_of_two_overlapping_blocks_ends(libc_calls):
    first, second = freed_memory_kept("cpu"), freed_memory_kept("cpu")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert libc_calls == 2 * KEEP
    second.__exit__(None, None, None)
    assert libc_calls == 2 * KEEP + RETURN


@pytest.mark.parametrize("is_before", [True, False])
def test_a_block_ends_nothing_where_memory_is_kept_for_good(libc_calls, is_before):
    if is_before:
        keep_freed_memory()
    with freed_memory_kept("cpu"):
        if not is_before:
            keep_freed_memory()
    assert libc_calls == 2 * KEEP


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is part of glibc")
def test_memory_of_a_block_goes_back_to_the_system():
    code = """
import numpy as np, psutil
from bench.machine.device import freed_memory_kept
resident = psutil.Process().memory_info
with freed_memory_kept("cpu"):
    arrays = [np.ones(2**21, np.uint8) for _ in range(100)]
    del arrays
    kept = resident().rss
print(kept - resident().rss)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150 * 2**20
