"""Landmark pictures -> pose tokens, and the generator that they condition.

A landmark picture is RGB, (B, 3, 112, 112), in [-1, 1]: black, with a disc at each of the five landmarks of the face to
draw (``pictures.py``). Follows ``HaiyuWu/Vec2Face_plus`` at 7aea100.

Shapes: ``B`` batch, ``D`` width of the generator's tokens.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import InputError
from bench.faces.face import FACE_SIZE

CHANNELS = (32, 64, 128, 256)
"""Channels of the four convolutions as published."""
POSED_DROP_RATIO = 0.8
"""Share of the grid tokens that are hidden from the encoder when a pose is given: the published minimum of the masks
of pose generation."""
_SIDE = FACE_SIZE // 2**4


class PoseNetwork(nn.Module):
    """Landmark pictures -> one token each. The state dict is that of the released ``pose_model``, name by name.

    Args:
        width: Width of the token, that of the generator.
        channels: Channels of the four convolutions; each halves the picture.
    """

    def __init__(self, width: int = 768, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.channels = channels
        first, second, third, fourth = channels
        self.conv1 = nn.Conv2d(3, first, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(second, third, 3, stride=2, padding=1)
        self.conv4 = nn.Conv2d(third, fourth, 3, stride=2, padding=1)
        self.linear = nn.Linear(fourth * _SIDE**2, width)
        nn.init.zeros_(self.linear.weight)  # as published: training starts from the zero token
        nn.init.zeros_(self.linear.bias)

    def forward(self, landmarks: torch.Tensor) -> torch.Tensor:
        """Landmark pictures (B, 3, 112, 112) in [-1, 1] -> pose tokens (B, 1, D).

        Raises:
            InputError: If the pictures have another size.
        """
        if landmarks.ndim != 4 or landmarks.shape[1:] != (3, FACE_SIZE, FACE_SIZE):
            raise InputError(
                f"landmark pictures have shape {tuple(landmarks.shape)}; give (B, 3, {FACE_SIZE}, {FACE_SIZE})"
            )
        x = landmarks.to(self.conv1.weight.dtype)
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(convolution(x))
        return self.linear(x.flatten(1))[:, None]


class PosedGenerator(nn.Module):
    """A generator that takes landmark pictures: the main model without them, the pose model with them.

    Two sets of weights, as they are published: the main model was not trained to draw a pose, and the pose model not
    to draw without one. Weights that are equal in both lie in memory once.

    Args:
        main: Vec2Face with the weights of the main model.
        posed: Vec2Face with the weights of the pose model, LoRA merged.
        condition: The pose network.
    """

    def __init__(self, main: nn.Module, posed: nn.Module, condition: PoseNetwork) -> None:
        super().__init__()
        self.main, self.posed, self.condition = main, posed, condition

    @property
    def architecture(self) -> Any:
        """Sizes of the generator, ``generate.vec2face.Architecture``."""
        return self.main.architecture

    def forward(
        self,
        features: torch.Tensor,
        noise: torch.Tensor,
        mask_ratio: float | torch.Tensor,
        landmarks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Images for identity features, at the pose of the landmark pictures if they are given.

        Args:
            features: Un-normalised identity features, shape (B, feature_dim), norm about 22.
            noise: Noise per grid token, shape (B, 49); the tokens of lowest noise are masked.
            mask_ratio: Share of masked tokens, a fraction in [0, 1]; one number or shape (B,).
            landmarks: Landmark pictures, shape (B, 3, 112, 112), RGB, in [-1, 1]. With them 0.8 of the tokens are
                dropped, without them 0.1, and the image is that of the main model.

        Returns:
            Images, shape (B, 3, 112, 112), RGB, in about [-1, 1], not clipped.

        Raises:
            InputError: If the landmark pictures have another size or number.
        """
        if landmarks is None:
            return self.main(features, noise, mask_ratio)
        if len(landmarks) != len(features):
            raise InputError(
                f"{len(landmarks)} landmark pictures came with {len(features)} features; give one picture per feature"
            )
        return self.posed(features, noise, mask_ratio, fill=self.condition(landmarks), drop_ratio=POSED_DROP_RATIO)
