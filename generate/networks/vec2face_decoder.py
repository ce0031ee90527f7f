"""Tokens on a 7 x 7 grid -> a face image: the convolutional decoder of Vec2Face.

The architecture is MaskGIT's VQGAN decoder with a peculiarity of the released weights (Vec2Face,
configs/vec2face/vqgan.yaml): in a block that changes the width, the 1 x 1 shortcut is applied to the block's *output*
and not to its input, and the input is dropped. Shapes: ``B`` batch, ``C`` channels, ``H W`` pixels.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

NUM_GROUPS = 32
_CHANNELS_PER_GROUP = 4
NUM_DOUBLINGS = 4
"""Doublings of the resolution between the 7 x 7 grid and 112 x 112 pixels."""


def _group_norm(channels: int) -> nn.GroupNorm:
    """32 groups as released, fewer below 128 channels: a group of one channel would normalise a uniform colour away."""
    return nn.GroupNorm(math.gcd(NUM_GROUPS, max(1, channels // _CHANNELS_PER_GROUP)), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two convolutions with group norm and SiLU before each: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = _group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = _group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.changes_width = in_channels != out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output; the module's docstring describes the shortcut."""
        residual = self.conv1(F.silu(self.norm1(x), inplace=True))
        residual = self.conv2(F.silu(self.norm2(residual), inplace=True))
        return self.nin_shortcut(residual).add_(residual) if self.changes_width else residual.add_(x)


class Upsample(nn.Module):
    """Nearest-neighbour doubling, then a 3 x 3 convolution: (B, C, H, W) -> (B, C_out, 2H, 2W), C_out = C by default.

    Both are computed as one transposed convolution of the small features: doubled neighbours are equal, so their
    weights are added beforehand. The result is the same up to rounding, with 4 instead of 9 products per output.
    """

    def __init__(self, channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels or channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The doubled features."""
        return F.conv_transpose2d(x, self._summed_weight().to(x.dtype), self.conv.bias, stride=2, padding=1)

    def as_transposed_convolution(self) -> nn.ConvTranspose2d:
        """The same layer with its summed weights as parameters, for an export."""
        weight = self._summed_weight().detach()
        layer = nn.ConvTranspose2d(weight.shape[0], weight.shape[1], 4, stride=2, padding=1)
        layer.load_state_dict({"weight": weight, "bias": self.conv.state_dict()["bias"]})
        return layer

    def _summed_weight(self) -> torch.Tensor:
        """Weights of the transposed convolution, sums over equal neighbours: (C_in, C_out, 4, 4)."""
        precise = torch.promote_types(self.conv.weight.dtype, torch.float32)
        weight = F.pad(self.conv.weight.flip(2, 3).to(precise), (1, 1, 1, 1))
        return F.avg_pool2d(weight, 2, stride=1, divisor_override=1).transpose(0, 1)


class _Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block_2(self.block_1(x))


class _Level(nn.Module):
    """One resolution: two residual blocks, then doubling, except at the last resolution."""

    def __init__(self, in_channels: int, out_channels: int, *, doubles: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(ResidualBlock(in_channels, out_channels), ResidualBlock(out_channels, out_channels))
        if doubles:
            self.upsample = Upsample(out_channels)
        self.doubles = doubles

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(x)
        return self.upsample(x) if self.doubles else x


class ImageDecoder(nn.Module):
    """Grid of latents (B, latent_channels, 7, 7) -> image (B, 3, 112, 112), unclipped.

    Args:
        channels: Channels at the last resolution (released: 128).
        multipliers: Channels per resolution in units of ``channels``, the last resolution first. The grid doubles once
            per entry after the first. Five entries, as released, end at 112 pixels. With four (three) entries the
            convolutions end at 56 (28) pixels, which is faster, and a pixel shuffle turns each of their positions into
            2 x 2 (4 x 4) pixels (arXiv 1609.05158).
        latent_channels: Channels of the grid.
        smooth: Average the pixel-shuffled image over windows of the size of a shuffled block. This removes checkerboard
            artefacts (arXiv 1806.02658) and the finest detail. Without effect where there is no pixel shuffle.
    """

    def __init__(
        self, channels: int, multipliers: Sequence[int], latent_channels: int, *, smooth: bool = False
    ) -> None:
        super().__init__()
        widths = [channels * multiplier for multiplier in multipliers]
        self.conv_in = nn.Conv2d(latent_channels, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1])
        self.up = nn.ModuleList(
            _Level(widths[min(level + 1, len(widths) - 1)], width, doubles=level > 0)
            for level, width in enumerate(widths)
        )
        self.norm_out = _group_norm(widths[0])
        self.pixels_per_place = 2 ** (NUM_DOUBLINGS - (len(widths) - 1))
        self.smooth = smooth
        self.conv_out = nn.Conv2d(widths[0], 3 * self.pixels_per_place**2, 3, padding=1)

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """The image, unclipped."""
        x = self.mid(self.conv_in(grid))
        for level in reversed(self.up):
            x = level(x)
        x = self.conv_out(F.silu(self.norm_out(x), inplace=True))
        size = self.pixels_per_place
        if size == 1:
            return x
        x = F.pixel_shuffle(x, size)
        if not self.smooth:
            return x
        return F.avg_pool2d(F.pad(x, ((size - 1) // 2, size // 2) * 2, mode="replicate"), size, stride=1)
