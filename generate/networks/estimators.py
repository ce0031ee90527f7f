"""Weight files -> estimators: differentiable functions of face images, which AttrOP optimises images for.

| estimator | gives | network in Vec2Face |
|---|---|---|
| identity | un-normalised features (B, D) | ArcFace-R100 on Glint360K |
| quality | norm of the features (B,) | MagFace-R100 (arXiv 2103.06627) |
| yaw | degrees (B,) | 6DRepNet (arXiv 2202.12555) |
| any other attribute | one number per image (B,) | a TorchScript or ONNX file |

Images are RGB, shape (B, 3, 112, 112), in [-1, 1].
"""

import weakref
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from bench.errors import InputError
from generate.networks.circumstances import PaddedFeatures
from generate.networks.identity import WithAppearance, load_features, load_onnx, without_appearance
from generate.networks.six_d_rep_net import SixDRepNet, YawInput
from generate.networks.weights import load_checked, read_weights
from generate.networks.yaw import load_yaw_network


class Estimator(Protocol):
    """Images (B, 3, 112, 112) in [-1, 1] -> one number per image (B,), or features (B, D); differentiable."""

    def __call__(self, images: torch.Tensor, /) -> torch.Tensor: ...  # noqa: D102


class FeatureNorm(nn.Module):
    """Quality by MagFace: the norm of a backbone's features, about 10 to 40, higher is better."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, 112, 112) in [-1, 1] -> norms (B,)."""
        return torch.linalg.vector_norm(self.backbone(images).float(), dim=1)


class SharedFeatures(nn.Module):
    """Features of a network, computed once for two estimators that are called one after the other on the same tensor.

    Args:
        network: Images (B, 3, 112, 112) to features (B, D).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._last: tuple[weakref.ref[torch.Tensor], bool, torch.Tensor] | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D).

        The second of two calls with the same tensor object returns the features of the first, if gradients are
        recorded in both or in neither.
        """
        last, self._last = self._last, None
        if last is not None and last[0]() is images and last[1] == torch.is_grad_enabled():
            return last[2]
        features = self.network(images)
        self._last = weakref.ref(images), torch.is_grad_enabled(), features
        return features


def identity_and_quality(
    identity_path: str | Path, quality_path: str | Path, device: str | torch.device = "cpu", *, circumstances: int = 0
) -> tuple[nn.Module, nn.Module]:
    """``identity_estimator`` and ``quality_estimator``; where both read the same file, they share its features.

    Shared features pass one sum of both gradients on, so that gradients of images differ by rounding from those of two
    networks.

    Args:
        identity_path: As for ``identity_estimator``.
        quality_path: As for ``quality_estimator``.
        device: Where the networks run.
        circumstances: As for ``identity_estimator``.

    Raises:
        InputError: As those functions.
    """
    identity = identity_estimator(identity_path, device, circumstances=circumstances)
    if Path(identity_path).resolve() != Path(quality_path).resolve():
        return identity, quality_estimator(quality_path, device)
    if isinstance(identity, PaddedFeatures | WithAppearance):
        shared = identity.network = SharedFeatures(identity.network)
    else:
        shared = identity = SharedFeatures(identity)
    return identity.eval(), FeatureNorm(shared).eval()


def identity_estimator(path: str | Path, device: str | torch.device = "cpu", *, circumstances: int = 0) -> nn.Module:
    """Images -> un-normalised identity features (B, D).

    Args:
        path: Weights of an IResNet, or an ONNX file.
        device: Where the network runs.
        circumstances: Zeros to append in place of the circumstances that a generator takes behind the features. They
            replace components of appearance.

    Raises:
        InputError: If the file is missing or holds another network.
    """
    network = load_features(path)
    if circumstances:
        network = PaddedFeatures(without_appearance(network, path), circumstances)
    return _frozen(network, device)


def quality_estimator(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Images -> quality (B,), the norm of the features.

    Appearance components behind the features (``appearance.py``) say nothing about quality and are left out of the
    norm, where the file is a ``.safetensors``.

    Args:
        path: Weights of a MagFace IResNet, or of another network whose feature norm measures quality.
        device: Where the network runs.

    Raises:
        InputError: If the file is missing or holds another network.
    """
    features = load_features(path)
    return _frozen(FeatureNorm(features.network if isinstance(features, WithAppearance) else features), device)


def yaw_estimator(path: str | Path, device: str | torch.device = "cpu", yaw_input: YawInput = "6drepnet") -> nn.Module:
    """Images -> yaw of the head in degrees (B,).

    Args:
        path: The released 6DRepNet weights, or our own yaw network (``.safetensors``).
        device: Where the network runs.
        yaw_input: What 6DRepNet sees, see ``SixDRepNet``.

    Raises:
        InputError: If the file is missing or holds another network, or ``yaw_input`` is given for our own.
    """
    if Path(path).suffix == ".safetensors":
        if yaw_input != "6drepnet":
            raise InputError(
                f"yaw_input={yaw_input} applies to 6DRepNet only, but {path} is another network; leave yaw_input out"
            )
        return _frozen(load_yaw_network(path), device)
    content, _ = read_weights(path)
    state = content.get("model_state_dict", content)  # training checkpoints wrap the state dict
    state = {name.removeprefix("module."): value for name, value in state.items()}
    model = SixDRepNet(yaw_input=yaw_input)
    load_checked(model, state, path)
    return _frozen(model, device)


def load_estimator(path: str | Path, device: str | torch.device = "cpu") -> Estimator:
    """An estimator of any attribute.

    Args:
        path: A TorchScript (``.pt``) or ONNX (``.onnx``, read by onnx2torch) file.
        device: Where the network runs.

    Raises:
        InputError: If the file is missing, does not load, or needs a package that is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"estimator {path} does not exist; give a TorchScript .pt or an .onnx file")
    if path.suffix == ".onnx":
        return _frozen(load_onnx(path), device)
    try:
        return _frozen(torch.jit.load(path, map_location="cpu"), device)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise InputError(f"estimator {path} is not TorchScript ({reason}); save it with torch.jit.save") from None


def _frozen(model: nn.Module, device: str | torch.device) -> nn.Module:
    """The model in eval mode on its device; its weights take no gradient."""
    for weight in model.parameters():  # TorchScript modules have no requires_grad_ of their own
        weight.requires_grad_(False)
    return model.to(device).eval()
