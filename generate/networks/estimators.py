"""Weights -> estimators: functions of images in [-1, 1], RGB, that AttrOP can differentiate.

Identity: an IResNet's un-normalised features (ArcFace-R100 on Glint360K in Vec2Face). Quality: the norm of MagFace's
features (arXiv 2103.06627). Yaw: 6DRepNet (arXiv 2202.12555), whose reparameterised RepVGG-B1g2 is a plain stack of
convolutions and built here. Any other attribute: a TorchScript or ONNX file from images (B, 3, 112, 112) to (B,).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import InputError
from generate.draw.attrop import Estimator
from generate.networks.identity import WithAppearance, load_features, load_onnx
from generate.networks.weights import load_checked, read_weights
from generate.networks.yaw import load_yaw_network

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureNorm(nn.Module):
    """Quality by MagFace: the norm of a backbone's features, about 10 to 40, higher is better."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 112, 112) in [-1, 1] -> norms (B,)."""
        return torch.linalg.vector_norm(self.backbone(images).float(), dim=1)


class _RepVggBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.rbr_reparam(x))


class SixDRepNet(nn.Module):
    """Yaw of the head by 6DRepNet with a reparameterised RepVGG-B1g2; state dict of the released weights.

    Args:
        widths: Channels of the stem and of the four stages.
        depths: Blocks of the four stages.
    """

    mean: torch.Tensor
    std: torch.Tensor
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    def __init__(
        self, widths: tuple[int, ...] = (64, 128, 256, 512, 2048), depths: tuple[int, ...] = (4, 6, 16, 1)
    ) -> None:
        super().__init__()
        self.layer0 = _RepVggBlock(3, widths[0], 2, 1)
        index = 1
        for stage, depth in enumerate(depths, start=1):
            blocks = []
            for block in range(depth):
                groups = 2 if index % 2 == 0 and index <= 26 else 1  # "g2": every second layer in two groups
                width_in = widths[stage - 1] if block == 0 else widths[stage]
                blocks.append(_RepVggBlock(width_in, widths[stage], 2 if block == 0 else 1, groups))
                index += 1
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear_reg = nn.Linear(widths[-1], 6)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD)[:, None, None], persistent=False)

    def rotation(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> two columns of the rotation matrix, not yet orthogonal (B, 6)."""
        x = F.interpolate(images / 2 + 0.5, size=(224, 224), mode="bilinear", align_corners=False)
        x = self.layer0((x - self.mean) / self.std)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.linear_reg(x.mean((2, 3)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> yaw (B,) in degrees, in [-90, 90]; the Euler angle of the reference."""
        x, y, z = self.rotation(images)[:, :3].float().unbind(dim=1)
        return torch.rad2deg(torch.atan2(-z, torch.sqrt(x * x + y * y + 1e-12)))


def identity_estimator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Images -> un-normalised identity features (B, D), by an IResNet's weights or an ONNX file.

    Raises:
        InputError: If the file is missing or neither.
    """
    return _ready(load_features(path), device)


def quality_estimator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Images -> quality (B,), by the weights of a MagFace IResNet, or another network whose norm tells quality.

    Numbers of appearance behind the features of a ``.safetensors`` tell nothing of quality and are left out.

    Raises:
        InputError: If the file is missing or neither an IResNet nor an ONNX file.
    """
    features = load_features(path)
    return _ready(FeatureNorm(features.network if isinstance(features, WithAppearance) else features), device)


def yaw_estimator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Images -> yaw in degrees (B,), by the released 6DRepNet weights, or by our own network (``.safetensors``).

    Raises:
        InputError: If the file is missing or holds other weights.
    """
    if Path(path).suffix == ".safetensors":
        return _ready(load_yaw_network(path), device)
    content, _ = read_weights(path)
    state = content.get("model_state_dict", content)  # training checkpoints wrap it
    state = {name.removeprefix("module."): value for name, value in state.items()}
    model = SixDRepNet()
    load_checked(model, state, path)
    return _ready(model, device)


def load_estimator(path: str | Path, device: str | torch.device = "cpu") -> Estimator:
    """Any attribute: a TorchScript (``.pt``) or ONNX (``.onnx``, with onnx2torch) file.

    Raises:
        InputError: If the file is missing, does not load, or needs a package that is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"estimator {path} does not exist; give a TorchScript .pt or an .onnx file")
    if path.suffix == ".onnx":
        return _ready(load_onnx(path), device)
    try:
        return _ready(torch.jit.load(path, map_location="cpu"), device)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise InputError(f"estimator {path} is not TorchScript ({reason}); save it with torch.jit.save") from None


def _ready(model: nn.Module, device: str | torch.device) -> nn.Module:
    """In eval mode on its device, without gradients of its own weights."""
    for weight in model.parameters():  # TorchScript modules have no requires_grad_ of their own
        weight.requires_grad_(False)
    return model.to(device).eval()
