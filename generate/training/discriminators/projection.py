"""Images and their features -> a grid of logits that say real or generated: a projection discriminator on patches.

A logit is the sum of how real a patch looks and of how well it fits the feature (projection, arXiv 1802.05637), so
that a sharp patch of another pose or light gains nothing. Every weight is divided by its spectral norm
(arXiv 1802.05957), and the loss is the hinge of both papers. Shapes: ``B`` batch, ``D`` width of the features, ``C``
channels, ``h w`` places.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from bench.errors import InputError

_SLOPE = 0.2


class ProjectionDiscriminator(nn.Module):
    """Images (B, 3, H, W) in [-1, 1] and features (B, D) -> logits (B, h, w), higher is more real.

    Args:
        widths: Channels at full resolution and after every convolution of stride 2.
        feature_dim: Width of the features.

    Raises:
        InputError: If there are too few or too many widths for 112 pixels.
    """

    def __init__(self, widths: Sequence[int], feature_dim: int) -> None:
        super().__init__()
        if not 2 <= len(widths) <= 5:
            raise InputError(f"discriminator_widths={list(widths)}: give 2 to 5 widths")
        layers: list[nn.Module] = [_convolution(3, widths[0], 3, stride=1)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.LeakyReLU(_SLOPE), _convolution(before, after, 4, stride=2)]
        self.patches = nn.Sequential(*layers, nn.LeakyReLU(_SLOPE), _convolution(widths[-1], widths[-1], 3, stride=1))
        self.looks_real = _convolution(widths[-1], 1, 1, stride=1)
        self.projection = spectral_norm(nn.Linear(feature_dim, widths[-1]))

    def forward(self, images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, h, w)."""
        patches = F.leaky_relu(self.patches(images), _SLOPE)  # (B, C, h, w)
        fits = torch.einsum("bchw,bc->bhw", patches, self.projection(features).to(patches.dtype))
        return self.looks_real(patches)[:, 0] + fits


def hinge_loss(real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """The discriminator's loss: means of relu(1 - real) and relu(1 + generated), added.

    Args:
        real: Logits of real images, any shape.
        generated: Logits of generated images, of the same shape.
    """
    return F.relu(1 - real).mean() + F.relu(1 + generated).mean()


def _convolution(in_channels: int, channels: int, kernel: int, *, stride: int) -> nn.Module:
    layer = nn.Conv2d(in_channels, channels, kernel, stride, padding=(kernel - 1) // 2)
    return spectral_norm(layer.to(memory_format=torch.channels_last))
