"""MobileFaceNet, a recognition network of one million parameters for phones.

In: faces (B, 3, 112, 112). Out: features (B, D) before normalisation. Source: arXiv 1804.07573, table 1.

Legend: B batch, D embedding dimension, H W pixels.
"""

from torch import Tensor, nn

from fr_train.networks.recompute import run_blocks

_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Rows of the table: expansion factor, channels, number of bottlenecks, stride of the first bottleneck."""
_LAST_CHANNELS = 512
_LAST_SIZE = 7


def _conv(
    in_channels: int, channels: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, padding: int = 0
) -> nn.Sequential:
    """Convolution followed by batch norm."""
    convolution = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


class Bottleneck(nn.Module):
    """Inverted residual: 1 x 1 expansion, depthwise 3 x 3, linear 1 x 1 projection.

    The input is added where stride and channels leave its shape unchanged.
    """

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.is_residual = stride == 1 and in_channels == channels
        self.layers = nn.Sequential(
            _conv(in_channels, hidden),
            nn.PReLU(hidden),
            _conv(hidden, hidden, 3, stride=stride, groups=hidden, padding=1),
            nn.PReLU(hidden),
            _conv(hidden, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""
        return x + self.layers(x) if self.is_residual else self.layers(x)


class MobileFaceNet(nn.Module):
    """Stem, bottlenecks, and a depthwise 7 x 7 convolution over the whole map instead of average pooling.

    Args:
        embedding_dim: Length D of the features; 128 in the paper.
        width: Channels of the stem, 64 in the paper; all other channels scale with it.
        dropout: Probability in [0, 1) that a value of the last feature map is zeroed in training.
    """

    def __init__(self, embedding_dim: int = 512, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.checkpointing = False
        self.stem = nn.Sequential(
            _conv(3, width, 3, stride=2, padding=1),
            nn.PReLU(width),
            _conv(width, width, 3, groups=width, padding=1),
            nn.PReLU(width),
        )
        blocks, in_channels = [], width
        for expansion, paper_channels, num_blocks, first_stride in _STAGES:
            channels = paper_channels * width // 64
            for block in range(num_blocks):
                blocks.append(Bottleneck(in_channels, channels, expansion, first_stride if block == 0 else 1))
                in_channels = channels
        self.blocks = nn.Sequential(*blocks)
        last = _LAST_CHANNELS * width // 64
        self.last = nn.Sequential(_conv(in_channels, last), nn.PReLU(last))
        self.whole_map = _conv(last, last, _LAST_SIZE, groups=last)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, embedding_dim, bias=False)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def checkpoint_gradients(self) -> None:
        """Recompute the activations of each bottleneck in the backward pass, to save memory."""
        self.checkpointing = True

    def forward(self, faces: Tensor) -> Tensor:
        """Faces (B, 3, 112, 112) in [-1, 1] -> features (B, D), float32, before normalisation."""
        x = run_blocks(self.blocks, self.stem(faces), recompute=self.checkpointing and self.training)
        x = self.whole_map(self.last(x))
        return self.features(self.fc(self.dropout(x.flatten(1))).float())
