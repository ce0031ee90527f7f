"""PReLU for channels-last batches equals PyTorch's, in values, gradients and state dict."""

import pytest
import torch
from torch import nn

from fr_train.networks.prelu import PReLU


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_equal_pytorchs(layout):
    generator = torch.Generator().manual_seed(0)
    faces = torch.randn(3, 4, 7, 5, generator=generator)
    cotangent = torch.randn(3, 4, 7, 5, generator=generator)
    results = []
    for activation in (PReLU(4), nn.PReLU(4)):
        with torch.no_grad():
            activation.weight.copy_(torch.tensor([0.25, -0.5, 0.0, 2.0]))
        leaf = faces.clone().contiguous(memory_format=layout).requires_grad_()
        values = activation(leaf)
        (values * cotangent).sum().backward()
        results.append((values.detach(), leaf.grad, activation.weight.grad))
    assert results[0][0].is_contiguous(memory_format=layout)
    for ours, pytorchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, pytorchs)


def test_the_state_dict_has_pytorchs_entries():
    assert list(PReLU(4).state_dict()) == list(nn.PReLU(4).state_dict())
