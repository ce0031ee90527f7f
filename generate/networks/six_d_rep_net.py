"""Images -> yaw of the head by 6DRepNet (arXiv 2202.12555), with the released, reparameterised RepVGG-B1g2.

Reparameterised, RepVGG is a plain stack of convolutions. It is built here, so that the ``sixdrepnet`` package is not
needed. Shapes: ``B`` batch, ``H W`` pixels.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

YawInput = Literal["6drepnet", "vec2face"]
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LAST_GROUPED_LAYER = 26


class SixDRepNet(nn.Module):
    """6DRepNet; its state dict equals that of the released weights, name by name.

    Args:
        widths: Channels of the stem and of the four stages.
        depths: Blocks of the four stages.
        yaw_input: What the network sees. ``6drepnet``: RGB, 224 x 224, normalised by ImageNet's mean and deviation, as
            it was trained. ``vec2face``: BGR in [0, 1] at the size of the face, as the AttrOP of Vec2Face's authors
            feeds it; with random weights this alone moves the yaw by up to 5.6 degrees.
    """

    mean: torch.Tensor
    std: torch.Tensor
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512, 2048),
        depths: tuple[int, ...] = (4, 6, 16, 1),
        yaw_input: YawInput = "6drepnet",
    ) -> None:
        super().__init__()
        self.yaw_input = yaw_input
        self.layer0 = _RepVggBlock(3, widths[0], 2, 1)
        index = 1
        for stage, depth in enumerate(depths, start=1):
            blocks = []
            for block in range(depth):
                # the "g2" of B1g2: every second layer has two groups
                groups = 2 if index % 2 == 0 and index <= _LAST_GROUPED_LAYER else 1
                width_in = widths[stage - 1] if block == 0 else widths[stage]
                blocks.append(_RepVggBlock(width_in, widths[stage], 2 if block == 0 else 1, groups))
                index += 1
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear_reg = nn.Linear(widths[-1], 6)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD)[:, None, None], persistent=False)

    def rotation(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> two columns of the rotation matrix, not yet orthogonal, (B, 6)."""
        x = images / 2 + 0.5
        if self.yaw_input == "vec2face":
            x = x.flip(1)
        else:
            x = F.interpolate(x, size=(224, 224), mode="bilinear", align_corners=False)
            x = (x - self.mean) / self.std
        x = self.layer0(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.linear_reg(x.mean((2, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> yaw (B,) in degrees, in [-90, 90]; the Euler angle of the reference."""
        x, y, z = self.rotation(images)[:, :3].float().unbind(dim=1)
        return torch.rad2deg(torch.atan2(-z, torch.sqrt(x * x + y * y + 1e-12)))


class _RepVggBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.rbr_reparam(x))
