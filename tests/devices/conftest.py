"""A device that computes shapes but no numbers, to find tensors that stayed on the CPU without owning a GPU.

PyTorch's FakeTensorMode keeps shape, type and device of every tensor. Device ``lazy`` is one that it knows without a
driver and that is not the CPU, so an operation on tensors of ``lazy`` and of the CPU is refused, as on a GPU. What
cannot exist there is replaced: numbers that the program reads are zeros, and autocast does nothing.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

DEVICE = torch.device("lazy:0")


def _read_zeros(tensor):
    """The values of a fake tensor on the CPU, as a NumPy array of zeros."""
    assert tensor.device.type == "cpu", f"numpy() of a tensor on {tensor.device}; call cpu() first"
    with unset_fake_temporarily():
        return torch.zeros(tensor.shape, dtype=tensor.dtype).numpy()


def _move(module, convert, recurse=True):
    """``nn.Module._apply`` with new parameters, as fake ones do not always let their data be swapped."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(convert(parameter.detach()), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = convert(buffer)
    return module


@pytest.fixture
def fake_device(monkeypatch):
    """The device ``lazy``; every tensor that the test makes is a fake."""
    monkeypatch.setattr(FakeTensor, "numpy", lambda self, **_: _read_zeros(self))
    monkeypatch.setattr(FakeTensor, "item", lambda self: _read_zeros(self.cpu()).item())
    monkeypatch.setattr(FakeTensor, "tolist", lambda self: _read_zeros(self.cpu()).tolist())
    for name, convert in {"__int__": int, "__float__": float, "__bool__": bool}.items():
        monkeypatch.setattr(FakeTensor, name, lambda self, convert=convert: convert(self.item()))
    monkeypatch.setattr(nn.Module, "_apply", _move)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield DEVICE
