"""Random numbers of the device of a process, and of no other."""

import warnings

import pytest
import torch

from bench.machine.device import forked_rng


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
