"""Faces -> yaw of the head in degrees, by a small network that is trained on rendered faces with known yaw.

It replaces 6DRepNet where the suite ships its own networks. Yaw is positive where the nose points to the right of the
image, as in ``people.Factors``. Shapes: ``B`` batch, ``N`` faces.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import InputError, python_command
from bench.faces.pixels import to_network_input
from bench.files import atomic_path
from bench.machine.progress import progress
from generate.networks.over_faces import outputs_over_faces
from generate.networks.weights import load_checked, read_weights

INPUT_SIZE = 56
_METADATA = "yaw_network"
_BATCH = 128
_EVALUATION_BATCH = 512
_LEARNING_RATE = 2e-3


class YawNetwork(nn.Module):
    """Four convolutions and two linear layers on faces of half size.

    Args:
        width: Channels of the first convolution; the others have 2, 4 and 4 times as many.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.convolutions = nn.Sequential(
            *_convolution(3, width, stride=2),
            *_convolution(width, 2 * width, stride=2),
            *_convolution(2 * width, 4 * width, stride=2),
            *_convolution(4 * width, 4 * width, stride=1),
        )
        self.hidden = nn.Linear(4 * width * 7 * 7, 4 * width)
        self.output = nn.Linear(4 * width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Faces (B, 3, 112, 112) or (B, 3, 56, 56) in [-1, 1] -> yaw in degrees (B,)."""
        if images.shape[-1] != INPUT_SIZE:
            images = F.adaptive_avg_pool2d(images, INPUT_SIZE)
        hidden = F.relu(self.hidden(self.convolutions(images).flatten(1)))
        return 90 * self.output(hidden)[:, 0].float()


def _convolution(in_channels: int, channels: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU()]


def train_yaw(faces: NDArray[np.uint8], yaw: NDArray[np.floating], *, seed: int, epochs: int = 8) -> YawNetwork:
    """Train a network with the absolute error of ``yaw / 90`` as its loss.

    Half of the faces are mirrored, a third are blurred, and all change in brightness and contrast, because generated
    faces are smoother than rendered ones.

    Args:
        faces: uint8 RGB, shape (N, 56, 56, 3); see ``half_size``.
        yaw: True yaw in degrees, shape (N,).
        seed: Seed of the initial weights, the order of the faces and the augmentation.
        epochs: Passes over the faces.

    Returns:
        The network in eval mode.
    """
    targets = torch.from_numpy(np.asarray(yaw, np.float32) / 90)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = YawNetwork().train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE)
        steps = epochs * (len(faces) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=max(1, steps))
        for epoch in progress(range(epochs), desc="yaw", total=epochs, unit="epoch"):
            order = np.random.default_rng([seed, epoch]).permutation(len(faces))
            for start in range(0, len(order) - _BATCH + 1, _BATCH):
                chosen = np.sort(order[start : start + _BATCH])
                images, true_yaw = _augment(to_network_input(faces[chosen]), targets[chosen])
                loss = (network(images) / 90 - true_yaw).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return network.eval()


def _augment(images: Tensor, yaw: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror, blur and re-light images at random; the yaw of mirrored faces changes its sign."""
    mirrored = torch.rand(len(images)) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    smooth = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear", align_corners=False)
    images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.33, smooth, images)
    gain, shift = 0.7 + 0.6 * torch.rand(len(images), 1, 1, 1), 0.3 * torch.randn(len(images), 1, 1, 1)
    return (images * gain + shift).clamp(-1, 1), torch.where(mirrored, -yaw, yaw)


def yaw_error(network: YawNetwork, faces: NDArray[np.uint8], yaw: NDArray[np.floating]) -> float:
    """Mean absolute error of the network in degrees.

    Args:
        network: The network, in eval mode.
        faces: uint8 RGB, shape (N, 56, 56, 3).
        yaw: True yaw in degrees, shape (N,).
    """
    measured = outputs_over_faces(network, faces, batch_size=_EVALUATION_BATCH)
    return float(np.abs(measured - yaw).mean())


def half_size(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Downsample a face, uint8 (112, 112, 3), to means over 2 x 2 pixels, uint8 (56, 56, 3)."""
    blocks = face.reshape(INPUT_SIZE, 2, INPUT_SIZE, 2, 3).astype(np.uint16).sum(axis=(1, 3))
    return ((blocks + 2) // 4).astype(np.uint8)


def save_yaw_network(network: YawNetwork, path: str | Path) -> None:
    """Write weights and width as one ``.safetensors`` file, which ``load_yaw_network`` reads."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, {_METADATA: json.dumps({"width": network.width})})


def load_yaw_network(path: str | Path) -> YawNetwork:
    """Load a network that ``save_yaw_network`` wrote, in eval mode.

    Raises:
        InputError: If the file is missing, cut short, or holds other weights.
    """
    state, metadata = read_weights(path)
    try:
        network = YawNetwork(**json.loads(metadata[_METADATA]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"weights {path} name no yaw network ({error}); give a yaw.safetensors that "
            f"{python_command('generate assets')} made"
        ) from None
    load_checked(network, state, path)
    return network.eval()
