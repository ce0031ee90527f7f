"""IResNet, the recognition network of ArcFace and of the released HSFace models; and any backbone by its settings.

In: faces (B, 3, 112, 112). Out: features (B, D) before normalisation. State dicts have the entry names of the released
files. Sources: arXiv 1801.07698; insightface ``arcface_torch/backbones/iresnet.py``; for the variants of
squeeze-excitation, docs/field.md, section 1.9.

Legend: B batch, D embedding dimension, H W pixels.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config.recipe import Backbone
from bench.errors import InputError
from fr_train.networks.mobilefacenet import MobileFaceNet
from fr_train.networks.prelu import PReLU
from fr_train.networks.recompute import run_blocks
from fr_train.networks.timm_model import TimmBackbone

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    152: (3, 8, 36, 3),
    200: (6, 26, 60, 6),
}
"""Depth -> residual blocks of the four stages. The reference trainer of HSFace builds depth 100 when asked for 200."""

SqueezeExcite = Literal["none", "shortcut", "standard"]
InputRange = Literal["symmetric", "unit"]
"""[-1, 1] or 0..1."""
STRIDE = 16
"""Ratio of input to output side: 112 pixels become 7."""


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a gate in (0, 1) computed from all channel means. Source: arXiv 1709.01507."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, channels, H, W)."""
        gate = F.adaptive_avg_pool2d(x, 1)
        return x * self.fc2(F.relu(self.fc1(gate))).sigmoid()


class Block(nn.Module):
    """Residual block: BN, conv, BN, PReLU, conv (strided), BN, added to the shortcut without a final activation."""

    def __init__(self, in_channels: int, channels: int, *, first: bool, se: SqueezeExcite) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = self.attn = self.se = None
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )
        if first and se == "shortcut":  # the released HSFace weights need it there
            self.attn = SqueezeExcitation(channels)
        if se == "standard":
            self.se = SqueezeExcitation(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""
        residual = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        residual = self.bn3(self.conv2(residual))
        if self.se is not None:
            residual = self.se(residual)
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.attn is not None:
            shortcut = self.attn(shortcut)
        return residual + shortcut


class IResNet(nn.Module):
    """Stem, four stages of residual blocks, BN, dropout, fully connected layer, and a BN whose weight stays 1.

    Args:
        depth: 18, 34, 50, 100, 152 or 200.
        se: Squeeze-excitation. ``shortcut`` applies it to the shortcut of the first block of each stage, as in the
            released HSFace networks; ``standard`` applies it to the residual of every block.
        embedding_dim: Length D of the features.
        width: Channels of the stem and the first stage; the other stages have 2, 4 and 8 times as many.
        dropout: Probability in [0, 1) that a value of the last feature map is zeroed in training.
        input_range: Range of the pixels at the first convolution. ``unit`` brings faces to 0..1 first, as in MagFace.
    """

    def __init__(
        self,
        depth: int,
        se: SqueezeExcite,
        embedding_dim: int,
        width: int,
        dropout: float,
        input_range: InputRange = "symmetric",
    ) -> None:
        super().__init__()
        self.checkpointing = False
        self.input_range = input_range
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = PReLU(width)
        in_channels = width
        for stage, num_blocks in enumerate(BLOCKS[depth], start=1):
            channels = width * 2 ** (stage - 1)
            blocks = [Block(in_channels, channels, first=True, se=se)]
            blocks += [Block(channels, channels, first=False, se=se) for _ in range(num_blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            in_channels = channels
        self.bn2 = nn.BatchNorm2d(in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels * (112 // STRIDE) ** 2, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def checkpoint_gradients(self) -> None:
        """Recompute the activations of each block in the backward pass, to save memory."""
        self.checkpointing = True

    def forward(self, faces: Tensor) -> Tensor:
        """Faces (B, 3, 112, 112) in [-1, 1] -> features (B, D), at least float32, before normalisation."""
        if self.input_range == "unit":
            faces = faces * 0.5 + 0.5
        x = self.prelu(self.bn1(self.conv1(faces)))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            blocks = self.get_submodule(name).children()
            x = run_blocks(blocks, x, recompute=self.checkpointing and self.training)
        x = self.dropout(self.bn2(x).flatten(1))
        with torch.autocast(faces.device.type, enabled=False):  # features have the precision of the weights
            return self.features(self.fc(x.to(self.fc.weight.dtype)))


def iresnet(
    depth: int,
    se: bool | SqueezeExcite = False,
    embedding_dim: int = 512,
    width: int = 64,
    dropout: float = 0.0,
    input_range: InputRange = "symmetric",
) -> IResNet:
    """An IResNet with random weights. At width 64 its state dict has the entries of the released files.

    Args:
        depth: 18, 34, 50, 100, 152 or 200.
        se: As for ``IResNet``; True means ``shortcut``, False ``none``.
        embedding_dim: Length D of the features.
        width: As for ``IResNet``.
        dropout: As for ``IResNet``.
        input_range: As for ``IResNet``.

    Raises:
        InputError: If the depth or the kind of squeeze-excitation is unknown.
    """
    if depth not in BLOCKS:
        raise InputError(f"depth={depth} is not a depth of IResNet; choose from {', '.join(map(str, BLOCKS))}")
    if isinstance(se, bool):
        se = "shortcut" if se else "none"
    if se not in ("none", "shortcut", "standard"):
        raise InputError(f"se={se} is unknown; choose from none, shortcut, standard")
    return IResNet(depth, se, embedding_dim, width, dropout, input_range)


def build_backbone(settings: Backbone) -> IResNet | MobileFaceNet | TimmBackbone:
    """The backbone that the settings describe, with random weights.

    Raises:
        InputError: If the settings name an unknown network.
    """
    if settings.kind == "iresnet":
        return iresnet(
            settings.depth,
            settings.se,
            settings.embedding_dim,
            settings.width,
            settings.dropout,
            settings.input_range,
        )
    if settings.kind == "mobilefacenet":
        return MobileFaceNet(settings.embedding_dim, settings.width, settings.dropout)
    if settings.name is None:
        raise InputError(
            "backbone.kind=timm needs a backbone.name; name a model of timm, such as vit_small_patch16_224"
        )
    return TimmBackbone(settings.name, settings.embedding_dim, settings.dropout)
