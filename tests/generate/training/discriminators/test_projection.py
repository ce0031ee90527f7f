"""The projection discriminator: its formula, its norms, its loss and bad sizes."""

import pytest
import torch

from bench.errors import InputError
from generate.training.discriminators.projection import ProjectionDiscriminator, hinge_loss

pytestmark = pytest.mark.usefixtures("one_thread")


def make_discriminator(widths=(4, 8, 8)):
    torch.manual_seed(0)
    return ProjectionDiscriminator(widths, 6)


def test_a_logit_adds_how_real_and_how_fitting_a_patch_is():
    discriminator = make_discriminator().eval()
    images, features = torch.rand(3, 3, 112, 112) * 2 - 1, torch.randn(3, 6)
    logits = discriminator(images, features)
    assert logits.shape == (3, 28, 28)
    patches = torch.nn.functional.leaky_relu(discriminator.patches(images), 0.2)
    weights = discriminator.projection(features)
    for row, y, x in ((0, 0, 0), (1, 5, 20), (2, 27, 27)):
        patch = patches[row, :, y, x]
        real = (discriminator.looks_real.weight.flatten() * patch).sum() + discriminator.looks_real.bias[0]
        assert logits[row, y, x].item() == pytest.approx((real + (weights[row] * patch).sum()).item(), abs=1e-5)


def test_every_weight_has_a_spectral_norm_of_about_one():
    discriminator = make_discriminator()
    for _ in range(300):  # each forward pass in training refines the estimates
        discriminator(torch.rand(1, 3, 16, 16), torch.randn(1, 6))
    layers = [layer for layer in discriminator.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 6
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1, abs=0.02)


def test_gradients_reach_every_parameter():
    discriminator = make_discriminator()
    logits = discriminator(torch.rand(4, 3, 112, 112), torch.randn(4, 6))
    hinge_loss(*logits.chunk(2)).backward()
    for name, parameter in discriminator.named_parameters():
        if name != "looks_real.bias":  # the two halves of the hinge cancel while no logit is beyond 1
            assert parameter.grad.abs().sum() > 0, name


def test_hinge():
    real, generated = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    expected = (0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3
    assert hinge_loss(real, generated).item() == pytest.approx(expected)


def test_too_few_widths_are_refused():
    with pytest.raises(InputError, match=r"discriminator_widths=\[8\]: give 2 to 5 widths"):
        ProjectionDiscriminator((8,), 6)
