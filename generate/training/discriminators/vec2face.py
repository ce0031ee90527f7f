"""Images -> a grid of logits that say real or generated: the patch discriminator of Vec2Face.

Follows ViT-VQGAN's discriminator in lucidrains' parti-pytorch, as HaiyuWu/Vec2Face uses it: a stem with three kernel
sizes; convolutions of stride 2, each with group norm and a residual block; a 4 x 4 convolution to logits. Images of 112
pixels and four widths give 11 x 11 logits. Shapes: ``B`` batch, ``H W`` pixels, ``h w`` logits.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from bench.errors import InputError

_SLOPE, _GROUPS = 0.1, 8
_STEM_KERNELS = (3, 7, 15)


class _Stem(nn.Module):
    """Parallel convolutions with kernels of 3, 7 and 15 pixels: half, a quarter and a quarter of the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width // 2, width // 4]
        widths.append(width - sum(widths))
        self.convs = nn.ModuleList(
            nn.Conv2d(3, part, kernel, padding=kernel // 2) for part, kernel in zip(widths, _STEM_KERNELS, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([conv(x) for conv in self.convs], dim=1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_norm(width), nn.LeakyReLU(_SLOPE), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


class Discriminator(nn.Sequential):
    """Images (B, 3, H, W) in [-1, 1] -> logits (B, 1, h, w): 1 means real, 0 generated (least squares)."""

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        """Build with random weights.

        Args:
            widths: Channels at full resolution and after every convolution of stride 2.

        Raises:
            InputError: If there are too many widths for 112 pixels, or the stem is too narrow to be divided in three.
        """
        if not 2 <= len(widths) <= 5 or widths[0] < 4:
            raise InputError(f"discriminator_widths={list(widths)}: give 2 to 5 widths, the first at least 4")
        layers: list[nn.Module] = [_Stem(widths[0]), nn.LeakyReLU(_SLOPE)]
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1),
                nn.LeakyReLU(_SLOPE),
                _norm(after),
                _Residual(after),
            ]
        last = widths[-1]
        super().__init__(*layers, nn.Conv2d(last, last, 1), nn.LeakyReLU(_SLOPE), nn.Conv2d(last, 1, 4))


def discriminator_loss(real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """Least-squares loss of the discriminator, half the mean of (real - 1)^2 + generated^2.

    Args:
        real: Logits of real images, any shape.
        generated: Logits of generated images, of the same shape.
    """
    return 0.5 * ((real - 1).square().mean() + generated.square().mean())


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_GROUPS, width), width)
