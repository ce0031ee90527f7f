"""Tokens on a 7 x 7 grid and the feature -> a face image: a small decoder that the feature styles at every resolution.

The published decoder (``vec2face_decoder.py``) sees the feature through its 7 x 7 tokens alone. Here the feature also
scales and shifts the channels after every convolution (FiLM, arXiv 1709.07871), so that light, age or yaw reach each
resolution directly. The last convolutions have full resolution: every pixel has its own inputs, and no grid of
shuffled pixels can show. Images of three resolutions are added (StyleGAN2, arXiv 1912.04958, figure 7), so that coarse
shapes and colours are learned first.

Shapes: ``B`` batch, ``C`` channels, ``H W`` pixels, ``D`` width of the feature, ``S`` width of the style.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import InputError
from generate.networks.vec2face_decoder import NUM_DOUBLINGS, Upsample

_SLOPE = 0.2
_CHANNELS_PER_GROUP = 8
_NORMALISED_SIDE, _FIRST_IMAGE_SIDE = 28, 28
"""Largest side whose activations are normalised, and smallest side that gives an image. At larger sides a
normalisation costs as much time as a convolution."""
_IMAGE_DEVIATION = 1e-3
"""Standard deviation of the initial weights that give an image."""
_STYLE_GAIN = 0.25
"""Gain of the initial weights from style to scale and shift; small, so that training starts nearly without style."""


class _StyledConvolution(nn.Module):
    """Convolution, group norm at low resolutions, scale and shift by the style, leaky ReLU."""

    def __init__(self, convolution: nn.Module, channels: int, style_width: int, *, is_normalised: bool) -> None:
        super().__init__()
        self.convolution = convolution
        groups = math.gcd(channels, max(1, channels // _CHANNELS_PER_GROUP))
        self.norm = nn.GroupNorm(groups, channels, affine=False) if is_normalised else nn.Identity()
        self.style = nn.Linear(style_width, 2 * channels)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """(B, C_in, H, W) and styles (B, S) -> (B, C, H, W), or twice as high and wide."""
        x = self.norm(self.convolution(x))
        scale, shift = self.style(style).to(x.dtype)[..., None, None].chunk(2, dim=1)  # (B, C, 1, 1)
        return F.leaky_relu(torch.addcmul(shift, x, 1 + scale), _SLOPE)


class _Level(nn.Module):
    """One resolution: doubled from the one before (but for the first), a convolution, and an image."""

    def __init__(self, in_channels: int, channels: int, style_width: int, side: int, *, doubles: bool) -> None:
        super().__init__()
        enter = Upsample(in_channels, channels) if doubles else nn.Conv2d(in_channels, channels, 3, padding=1)
        is_normalised = side <= _NORMALISED_SIDE
        self.enter = _StyledConvolution(enter, channels, style_width, is_normalised=is_normalised)
        inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.inner = _StyledConvolution(inner, channels, style_width, is_normalised=is_normalised)
        self.to_image = nn.Conv2d(channels, 3, 3, padding=1) if side >= _FIRST_IMAGE_SIDE else None

    def forward(
        self, x: torch.Tensor, image: torch.Tensor | None, style: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features and image (B, 3, h, w) of the resolution before -> those of this one."""
        x = self.inner(self.enter(x, style), style)
        if self.to_image is None:
            return x, image
        own = self.to_image(x)
        if image is not None:
            own = own + F.interpolate(image, scale_factor=2.0, mode="bilinear").to(own.dtype)
        return x, own


class StyledDecoder(nn.Module):
    """Grid of latents (B, latent_channels, 7, 7) and features (B, D) -> image (B, 3, 112, 112), unclipped.

    Args:
        channels: Channels at full resolution.
        multipliers: Channels at 112, 56, 28, 14 and 7 pixels, in units of ``channels``.
        latent_channels: Channels of the grid.
        feature_dim: Width of the feature, D.
        style_width: Width of the style, S.

    Raises:
        InputError: If there are not five multipliers.
    """

    pixels_per_place = 1

    def __init__(
        self, channels: int, multipliers: Sequence[int], latent_channels: int, *, feature_dim: int, style_width: int
    ) -> None:
        super().__init__()
        if len(multipliers) != NUM_DOUBLINGS + 1:
            raise InputError(
                f"multipliers={list(multipliers)}: a decoder with style_width={style_width} ends at full resolution; "
                f"give {NUM_DOUBLINGS + 1} multipliers"
            )
        widths = [latent_channels, *(channels * multiplier for multiplier in reversed(multipliers))]
        self.to_style = nn.Sequential(
            nn.Linear(feature_dim, style_width), nn.SiLU(), nn.Linear(style_width, style_width), nn.SiLU()
        )
        sides = [7 * 2**level for level in range(len(multipliers))]
        self.levels = nn.ModuleList(
            _Level(widths[level], widths[level + 1], style_width, side, doubles=level > 0)
            for level, side in enumerate(sides)
        )

    def initialise(self) -> None:
        """Draw initial weights: activations keep their scale, styles start small, the first image is grey."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, _StyledConvolution):
                nn.init.xavier_uniform_(module.style.weight, gain=_STYLE_GAIN)
        for module in self.modules():
            if isinstance(module, _Level) and module.to_image is not None:
                nn.init.normal_(module.to_image.weight, std=_IMAGE_DEVIATION)

    def forward(self, grid: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The image, unclipped."""
        style = self.to_style(features)
        x = grid
        image: torch.Tensor | None = None
        for level in self.levels[:-1]:
            x, image = level(x, image, style)
        _, full_size_image = self.levels[-1](x, image, style)
        return full_size_image
