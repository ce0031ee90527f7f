"""The published upsampling that speed is measured against."""

import pytest
import torch

from generate.speed.network import _double_then_convolve
from generate.vec2face import Architecture, Vec2Face

pytestmark = pytest.mark.usefixtures("one_thread")


def test_published_upsampling_draws_the_same_images():
    torch.manual_seed(0)
    model = Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1, 1, 1), 8)).eval()
    features, noise = torch.randn(2, 16), torch.rand(2, 49)
    ours = model(features, noise, 0.3)
    _double_then_convolve(model)
    torch.testing.assert_close(model(features, noise, 0.3), ours, rtol=1e-4, atol=1e-5)
