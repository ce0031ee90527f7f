"""A device that computes shapes but no numbers, to find tensors that stayed on the CPU without owning a GPU.

PyTorch's FakeTensorMode keeps shape, type and device of every tensor. Device ``lazy`` is one that it knows without a
driver and that is not the CPU, so an operation on tensors of ``lazy`` and of the CPU is refused, as on a GPU. What
cannot exist there is replaced: numbers that the program reads are 1, arrays of answers hold False,
conditions are met, and autocast does nothing.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

DEVICE = torch.device("lazy:0")


def _read(tensor):
    """Values of a fake tensor on the CPU, as a NumPy array: 1, or False."""
    assert tensor.device.type == "cpu", f"numpy() of a tensor on {tensor.device}; call cpu() first"
    with unset_fake_temporarily():
        return torch.full(tensor.shape, tensor.dtype != torch.bool, dtype=tensor.dtype).numpy()


def _copy(tensor, memo):
    """What ``copy.deepcopy`` makes of a fake tensor."""
    values = tensor.detach().clone()
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


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
    monkeypatch.setattr(FakeTensor, "numpy", lambda self, **_: _read(self))
    monkeypatch.setattr(FakeTensor, "item", lambda self: _read(self.cpu()).item())
    monkeypatch.setattr(FakeTensor, "tolist", lambda self: _read(self.cpu()).tolist())
    for name, value in {"__int__": 1, "__float__": 1.0, "__bool__": True}.items():
        monkeypatch.setattr(FakeTensor, name, lambda self, value=value: value)
    monkeypatch.setattr(FakeTensor, "__deepcopy__", _copy, raising=False)
    monkeypatch.setattr(nn.Module, "_apply", _move)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield DEVICE
